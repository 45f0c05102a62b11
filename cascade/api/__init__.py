"""The HTTP service over one release."""
