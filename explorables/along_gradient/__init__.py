"""The loss along the gradient, with and without batch norm."""
