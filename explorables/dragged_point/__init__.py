"""One of five points is dragged."""
