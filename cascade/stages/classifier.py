"""Stage 1: the exported classifier, which decides the clear cases."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.core.router import StageResult, verdict_of
from cascade.engines.base import Engine, load_engine
from cascade.preprocess.looks import TTA_VIEWS, run_with_tta, square_crops
from cascade.preprocess.pixels import to_input
from cascade.release.manifest import CropSettings
from cascade.release.store import Release, read_classifier

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

CENTRE = CropSettings()


class ClassifierStage:
    """The engine of a release, or of the export stage's folder, between preprocessing and exits.

    Args:
        source: a verified release, or a folder with `classifier.onnx`, `contract.json` and `classifier.json`.
        looks: how it looks at wide pictures; the centre square alone by default.
    """

    name = "classifier"

    def __init__(self, source: Release | Path, looks: CropSettings = CENTRE) -> None:
        self.memory_bytes = 0
        self._folder = source.folder if isinstance(source, Release) else source
        self._settings = read_classifier(self._folder)
        self._looks = looks
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The loaded engine.

        Raises:
            RuntimeError: `load` was not called.
        """
        if self._engine is None:
            raise RuntimeError("the classifier is not loaded; call load() first")
        return self._engine

    def load(self) -> None:
        """See `Stage.load`; raises EngineError where the model is unusable."""
        import numpy as np

        before = resident_bytes()
        settings = self._settings
        engine = load_engine(self._folder, settings.engine, settings.precision, settings.threads)
        # the first inference allocates and compiles; no request shall wait for that
        engine.run(np.zeros((1, settings.size, settings.size, 3), dtype=np.uint8))
        self._engine = engine
        self.memory_bytes = max(0, resident_bytes() - before)

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        """See `Stage.predict`."""
        seen: list[StageResult] = []
        # a wide picture takes several rows of a batch
        step = max(1, self.engine.contract.max_batch // self._looks.count)
        for start in range(0, len(images), step):
            seen += self._batch(images[start : start + step])
        return seen

    def unload(self) -> None:
        """See `Stage.unload`."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None

    def _batch(self, images: Sequence[Image.Image]) -> list[StageResult]:
        import numpy as np

        start = time.perf_counter()
        looks = [self._look(image) for image in images]
        logit, _, again = run_with_tta(self.engine.run, np.concatenate(looks), self._settings.second_look)
        ends = np.cumsum([len(look) for look in looks])[:-1]
        pooled = [np.max(part) if self._looks.pool == "max" else np.mean(part) for part in np.split(logit, ends)]
        milliseconds = (time.perf_counter() - start) * 1000
        p = sigmoid(np.array(pooled, dtype=np.float32))
        # squares that were looked at again were looked at three times
        count = [len(part) + TTA_VIEWS * int(part.sum()) for part in np.split(again, ends)]
        return [self._outcome(float(one), number, milliseconds) for one, number in zip(p, count, strict=True)]

    def _look(self, image: Image.Image) -> NDArray[np.uint8]:
        """One picture's squares as uint8 (k, size, size, 3): one, or `looks.count` of a wide picture."""
        import numpy as np

        size, looks = self._settings.size, self._looks
        if looks.count == 1 or max(image.size) < looks.from_ratio * min(image.size):
            return to_input(image, size)[None]
        return np.stack([to_input(square, size) for square in square_crops(image, looks.count)])

    def _outcome(self, probability: float, looks: int, milliseconds: float) -> StageResult:
        exits = self._settings.exits
        return StageResult(
            stage=self.name,
            probability=probability,
            exits=exits,
            outcome=verdict_of(probability, exits),
            milliseconds=round(milliseconds, 3),
            detail={} if looks == 1 else {"looks": looks},
        )


def sigmoid(logit: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits to probabilities, without overflow at either end."""
    import numpy as np

    return 0.5 * (1.0 + np.tanh(0.5 * logit.astype(np.float64)))


def resident_bytes() -> int:
    """Memory of this process that lies in RAM, from Linux' /proc."""
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def taken_bytes(device: str) -> int:
    """Bytes of this process in the memory that a stage on `device` takes."""
    if device == "cpu":
        return resident_bytes()
    import torch

    return int(torch.cuda.memory_allocated())
