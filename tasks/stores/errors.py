"""The error of all stores."""

from __future__ import annotations


class StoreError(RuntimeError):
    """A store of section `stores` cannot be used; the message says which, and what to set or do."""
