"""Scenes for the sample dataset, built with Blender's Python module; only `tasks/render.py` imports them."""
