"""PM2, which keeps the parts of `streetvision up` running."""
