"""Scenes for the sample dataset, built with Blender's Python module; imported by `tasks/render.py` in its own environment only."""
