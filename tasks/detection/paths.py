"""Where the step `detect` reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DetectPaths:
    """Folders of the step.

    Attributes:
        backbone: the `Dinov2Model` of stage 1, for the small RF-DETR.
        pulled: the splits as parquet.
        shipped: weights that come with the project, a folder a detector.
        work: checkpoints and cached features; may be deleted at any time.
        detectors: the step's output.
        reports: metrics.json and plots.
    """

    backbone: Path = Path("models/backbone")
    pulled: Path = Path("data/pulled")
    shipped: Path = Path("models/shipped/detectors")
    work: Path = Path("var/detect")
    detectors: Path = Path("models/detectors")
    reports: Path = Path("reports/detect")
