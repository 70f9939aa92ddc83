"""The path of gradient descent while the scale of a feature is dragged."""
