"""Where the step `adapt` reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.classifier.weights import ADAPTED, BACKBONE


@dataclass(frozen=True)
class AdaptPaths:
    """Folders of the step.

    Attributes:
        backbone: a `Dinov2Model` folder.
        pulled: the splits as parquet.
        shipped: changes that come with the project.
        work: checkpoints; may be deleted at any time.
        adapted: the step's output.
    """

    backbone: Path = BACKBONE
    pulled: Path = Path("data/pulled")
    shipped: Path = Path("models/shipped/adapter")
    work: Path = Path("var/adapt")
    adapted: Path = ADAPTED
