"""What ends a run with one line: the folder of the output, or the cluster."""

from __future__ import annotations


class OutputError(ValueError):
    """The folder cannot take the shards; the message says why."""


class ScaleError(ValueError):
    """The Ray cluster cannot be reached, has no room, or lost what it worked on; the message says what to do."""
