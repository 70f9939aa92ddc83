"""The decision line while the mixture of red and yellow roses moves."""
