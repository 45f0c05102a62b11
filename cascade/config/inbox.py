"""Section `inbox`: what the service keeps for mining."""

from __future__ import annotations

from cascade.config.base import Section


class InboxParams(Section):
    """Section `inbox`: what the service keeps for mining."""
