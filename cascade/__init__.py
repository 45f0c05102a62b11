"""RUN: the runtime that answers whether an image shows roadworks, and why."""
