"""One example among changing batch mates."""
