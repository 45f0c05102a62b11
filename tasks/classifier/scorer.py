"""Backbone and a trained head in torch, for pictures that have no features on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.common.files import read_json


class Scorer:
    """Backbone, head and calibration.

    Args:
        backbone: a `Dinov2Model` folder.
        head: models/probe or models/head.

    Attributes:
        size: px a side of what it scores.
    """

    def __init__(self, backbone: Path, head: Path) -> None:
        import torch

        from tasks.classifier.encoder import choose_dtype, device
        from tasks.classifier.model import Classifier

        document = read_json(head / "head.json")
        self._classifier = Classifier(backbone, head, document).eval().to(device())
        self._classifier.backbone.in_precision(getattr(torch, choose_dtype("auto")))
        self._statistics = document["pooling"] == "statistics"
        self.size: int = document["size"]

    def score(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Score pictures.

        Args:
            pixels: uint8 RGB, (n, size, size, 3), as `cascade.preprocess.pixels.to_input` makes them.

        Returns:
            Calibrated probabilities of roadwork, (n,), and an embedding of each: class token, mean and maximum of the
            patch tokens, (n, 3 * channels).
        """
        import torch

        from tasks.classifier.encoder import device

        model = self._classifier
        with torch.inference_mode():
            features = model.backbone(torch.from_numpy(pixels).to(device()))
            logit = model.a * model.head(features) + model.b
            vectors = features if self._statistics else token_statistics(features, model.backbone.channels)
            return torch.sigmoid(logit.double()).cpu().numpy(), vectors.float().cpu().numpy()


def token_statistics(tokens: Any, channels: int) -> Any:
    """Class token, mean and maximum of the patch tokens.

    Args:
        tokens: the class token first, an array or tensor, (n, tokens * channels).
        channels: of a token.

    Returns:
        A float32 tensor, (n, 3 * channels).
    """
    import torch

    every = torch.as_tensor(tokens).float().reshape(len(tokens), -1, channels)
    return torch.cat([every[:, 0], every[:, 1:].mean(dim=1), every[:, 1:].amax(dim=1)], dim=1)
