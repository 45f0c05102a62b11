"""Scenes for the sample dataset, built with Blender's Python module; only `tasks/tools/render.py` imports them."""
