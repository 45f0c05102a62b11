"""Clips: frames read from a container, and the answer over all of them."""
