"""`streetvision doctor`: looks at everything that the project needs, and says what to do about what it finds.

A module a group of checks; `registry.py` knows them all, `run.py` runs them beside each other.
"""
