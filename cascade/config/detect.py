"""Section `detect`: stage 2, the two detectors."""

from __future__ import annotations

from cascade.config.base import Section


class DetectParams(Section):
    """Section `detect`: stage 2, the two detectors."""
