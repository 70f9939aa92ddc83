"""What can be measured on a model while it trains, for PyTorch.

Nothing here changes a model: parameters, gradients, statistics and modes are put back.
A test compares each measurement with theory, or with a plain slow implementation.
"""

# --- the loss along the gradient ------------------------------------------------------

# --- signals and gradients in depth ---------------------------------------------------

# --- the length and the direction of weights ------------------------------------------

# --- the noise of a batch -------------------------------------------------------------
