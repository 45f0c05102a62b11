"""Section `text`: stage 4, text reading."""

from __future__ import annotations

from cascade.config.base import Section


class TextParams(Section):
    """Section `text`: stage 4, text reading."""
