"""Section `mine`: hard cases out of inbox, pool, folders and clips."""

from __future__ import annotations

from cascade.config.base import Section


class MineParams(Section):
    """Section `mine`: hard cases out of inbox, pool, folders and clips."""
