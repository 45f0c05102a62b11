"""Releases: immutable folders whose manifest vouches for every file."""
