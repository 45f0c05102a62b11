"""Section `judge`: stage 3, the vision-language model."""

from __future__ import annotations

from cascade.config.base import Section


class JudgeParams(Section):
    """Section `judge`: stage 3, the vision-language model."""
