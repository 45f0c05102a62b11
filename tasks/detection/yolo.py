"""YOLO11 (Jocher and Qiu 2024, ultralytics): the architecture and loss of the library, in our training loop.

Its own trainer is left aside: it downloads a font and a second model, keeps its state in pickles, and knows neither the
validators' views nor an exact resume. No `.pt` file is read: a pickle runs code when it is loaded.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from cascade.detection.boxes import CLASSES
from tasks.config.detect import YoloParams
from tasks.detection.target import Target, box_count


class Yolo(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """YOLO11 over uint8 squares.

    Args:
        params: section `detect.yolo`: scale, px a side and the gains of the losses.

    Attributes:
        card_bfloat16: whether a training on a card computes the network in it, as one on a processor does.
    """

    frozen: nn.Module | None = None
    card_bfloat16 = False

    def __init__(self, params: YoloParams) -> None:
        super().__init__()
        self.size = params.size
        self.net = _network(params.scale)
        self.net.args = SimpleNamespace(**params.loss.model_dump())

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """Nothing of it is frozen, so the pixels go in as they are."""
        return pixels

    def loss(self, prepared: torch.Tensor, targets: list[Target]) -> torch.Tensor:
        """Box, class and distribution loss of a batch: a scalar, a mean over its pictures.

        Args:
            prepared: uint8 (n, size, size, 3).
            targets: n of them.
        """
        kind = prepared.device.type
        with torch.autocast(
            kind, dtype=torch.bfloat16, enabled=self.training and (kind == "cpu" or self.card_bfloat16)
        ):
            answer = self.net(_normalised(prepared))
        answer = {name: _float(value) for name, value in answer.items()}
        loss, _ = self.net.loss(_batch(targets), answer)
        return loss.sum() / len(targets)

    def weight(self, targets: list[Target]) -> float:
        """Boxes of a batch; the sum of assigned scores, which its losses are divided by, is nearly in proportion."""
        return box_count(targets)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Detect.

        Args:
            pixels: uint8 (n, size, size, 3).

        Returns:
            Corners as shares of the square (n, anchors, 4), and a score a class (n, anchors, 7). Boxes overlap: the
            caller suppresses them.
        """
        answer = self.net(_normalised(pixels))
        answer = answer[0] if isinstance(answer, tuple) else answer
        centre, side = answer[:, :2].transpose(1, 2), answer[:, 2:4].transpose(1, 2)
        corners = torch.cat([centre - side / 2, centre + side / 2], dim=2) / self.size
        return corners, answer[:, 4:].transpose(1, 2)


@contextmanager
def importing_ultralytics() -> Iterator[None]:
    """Import ultralytics inside this block.

    Its import writes a settings file into the home directory, looks for news online, and replaces `PIL.Image.open` in
    the whole process by one that asks for another package where a file is no picture: none of that is wanted.
    """
    from PIL import Image

    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.gettempdir())
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    opener = Image.open
    try:
        yield
    finally:
        Image.open = opener


def _network(scale: str) -> Any:
    with importing_ultralytics():
        from ultralytics.nn.tasks import DetectionModel

    return DetectionModel(f"yolo11{scale}.yaml", ch=3, nc=len(CLASSES), verbose=False)


def _normalised(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (n, s, s, 3) to 0..1 (n, 3, s, s), in the memory order that the processor's convolutions like."""
    return (pixels.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)


def _float(value: Any) -> Any:
    return [item.float() for item in value] if isinstance(value, list) else value.float()


def _batch(targets: list[Target]) -> dict[str, torch.Tensor]:
    """Targets as ultralytics wants them: one row a box, with the number of its picture (k,), class and box (k, 4)."""
    number = torch.cat([torch.full_like(target.classes, i) for i, target in enumerate(targets)]).float()
    classes = torch.cat([target.classes for target in targets]).float().reshape(-1, 1)
    return {"batch_idx": number, "cls": classes, "bboxes": torch.cat([target.centred for target in targets])}
