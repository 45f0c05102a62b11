"""Step `probe`: a head trained in seconds, which says what the pipeline finds hard before the real head exists.

`python -m tasks.probe` trains on a few views of the training split and writes models/probe, in the form of models/head.
Synthesis asks it whether a picture contradicts its label, mining which pictures it is unsure of. That the head of the
release is another one, trained on their harvest as well, keeps the stage graph free of circles.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.common.files import read_json
from tasks.config import ConfigError, TrainParams, load_params
from tasks.data.feature_store import FEATURES
from tasks.train import train

PROBE, REPORTS = Path("models/probe"), Path("reports/probe")


def probe(
    params: TrainParams, features: Path = FEATURES, folder: Path = PROBE, reports: Path = REPORTS
) -> dict[str, Any]:
    """Train the probe: `train` with fewer views and epochs, and nothing of synthesis or mining.

    Returns:
        The metrics.

    Raises:
        DataError: features are missing.
    """
    # the probe ranks pictures, so one view is enough
    short = params.model_copy(update={"epochs": params.probe_epochs, "average": 1, "tta": False})
    return train(short, features, folder, reports, views=params.probe_views)


class Scorer:
    """Backbone, a trained head and its calibration in torch, for pictures that are on no disk yet.

    Args:
        backbone: a `Dinov2Model` folder.
        head: models/probe or models/head.
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

    def look(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Score pictures.

        Args:
            pictures: RGB, (n, size, size, 3), as `cascade.preprocess.pixels.to_input` makes them.

        Returns:
            Calibrated probabilities of roadwork, (n,), and an embedding of each: class token, mean and maximum of the
            patch tokens, (n, 3 * channels).
        """
        import torch

        from tasks.classifier.encoder import device

        model = self._classifier
        with torch.inference_mode():
            features = model.backbone(torch.from_numpy(pictures).to(device()))
            logit = model.a * model.head(features) + model.b
            vectors = features if self._statistics else pooled(features, model.backbone.channels)
            return torch.sigmoid(logit.double()).cpu().numpy(), vectors.float().cpu().numpy()


def pooled(tokens: Any, channels: int) -> Any:
    """Class token, mean and maximum of the patch tokens: (n, tokens * channels) to (n, 3 * channels)."""
    import torch

    every = torch.as_tensor(tokens).float().reshape(len(tokens), -1, channels)
    return torch.cat([every[:, 0], every[:, 1:].mean(dim=1), every[:, 1:].amax(dim=1)], dim=1)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    argparse.ArgumentParser(prog="python -m tasks.probe", description=__doc__).parse_args(arguments)
    try:
        print(probe(load_params().train))
    except (ConfigError, ValueError, OSError) as error:
        print(f"probe: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
