"""What a picture's boxes look like to a loss. Import this only where torch is wanted; it loads at the top."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tasks.detection.samples import DetectorInput


@dataclass(frozen=True)
class Target:
    """Boxes of one picture.

    Attributes:
        classes: int64 (k,).
        centred: float32 (k, 4), centre x, centre y, width and height as shares of the square.
    """

    classes: torch.Tensor
    centred: torch.Tensor

    def to(self, device: torch.device) -> Target:
        """Move both to a device."""
        return Target(self.classes.to(device), self.centred.to(device))


def target_of(sample: DetectorInput) -> Target:
    """Turn a sample's corners into a target."""
    corners = torch.from_numpy(sample.corners).float()
    centred = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], dim=1)
    return Target(torch.from_numpy(sample.classes), centred)


def box_count(targets: list[Target]) -> float:
    """How many boxes a batch has; 1 where it has none, as losses that are a mean over boxes count it."""
    return float(max(1, sum(len(target.classes) for target in targets)))
