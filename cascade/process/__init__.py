"""Processes that this project starts, watches and stops."""
