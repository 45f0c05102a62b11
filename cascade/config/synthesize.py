"""Section `synthesize`: pictures made to order."""

from __future__ import annotations

from cascade.config.base import Section


class SynthesizeParams(Section):
    """Section `synthesize`: pictures made to order."""
