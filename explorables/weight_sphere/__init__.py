"""The length and the angle of one weight vector before batch norm."""
