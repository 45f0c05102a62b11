"""Stage 1: the exported classifier, which decides the clear cases."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.engines.base import device_of
from cascade.engines.classifier import ClassifierEngine, load_engine
from cascade.preprocess.crops import square_crops, zoom_crops
from cascade.preprocess.pixels import to_input
from cascade.preprocess.tta import is_within, run_with_tta
from cascade.probability import sigmoid
from cascade.process.memory import Meter
from cascade.release.manifest import CropSettings
from cascade.release.store import Release, read_classifier
from cascade.stages.base import StageResult, verdict_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

CENTRE = CropSettings()
# batches at a time, one made ready while the engine computes the other: OpenVINO computes one after the other, and
# torch would give each of them all threads at once
LANES = {"openvino": 2}


class ClassifierStage:
    """The engine of a release, or of the export stage's folder, between preprocessing and exits.

    Args:
        source: a verified release, or a folder with `classifier.onnx`, `contract.json` and `classifier.json`.
        crops: which squares of a picture it gets; the centre square alone by default.
    """

    name = "classifier"

    def __init__(self, source: Release | Path, crops: CropSettings = CENTRE) -> None:
        self.memory_bytes = 0
        self._folder = source.folder if isinstance(source, Release) else source
        self._settings = read_classifier(self._folder)
        self.device = device_of(self._settings.engine)
        self.lanes = LANES.get(self._settings.engine, 1)
        self._crops = crops
        self._engine: ClassifierEngine | None = None

    @property
    def precision(self) -> str | None:
        """What the loaded engine computes in; None while none is loaded."""
        return self._engine.precision if self._engine else None

    @property
    def engine(self) -> ClassifierEngine:
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

        settings, meter = self._settings, Meter(self.device)
        engine = load_engine(self._folder, settings.engine, settings.precision, settings.threads)
        # the first inference allocates and compiles; no request shall wait for that. A card's memory is taken by the
        # largest batch
        batch = 1 if self.device == "cpu" else engine.contract.max_batch
        engine.run(np.zeros((batch, settings.size, settings.size, 3), dtype=np.uint8))
        self._engine = engine
        self.memory_bytes = meter.taken()

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        """See `Stage.predict`."""
        seen: list[StageResult] = []
        # a wide picture takes several rows of a batch
        step = max(1, self.engine.contract.max_batch // self._crops.count)
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
        squares = [self._squares(image) for image in images]
        can_zoom = np.array([self._can_zoom(image) for image in images])
        # a picture that small squares show better needs no second view of its large ones
        among = np.repeat(~can_zoom, [len(part) for part in squares])
        tta = self._settings.tta
        logit, _, augmented = run_with_tta(self.engine.run, np.concatenate(squares), tta, among)
        ends = np.cumsum([len(part) for part in squares])[:-1]
        pooled = np.array([self._pool(part) for part in np.split(logit, ends)], dtype=np.float32)
        further = len(tta.views) if tta else 0
        count = [len(part) + further * int(part.sum()) for part in np.split(augmented, ends)]
        for index in np.flatnonzero(can_zoom & self._is_undecided(pooled)).tolist():
            pooled[index], more = self._zoomed(images[index], float(pooled[index]))
            count[index] += more
        milliseconds = (time.perf_counter() - start) * 1000
        return [
            self._result(float(one), number, milliseconds, len(images))
            for one, number in zip(sigmoid(pooled), count, strict=True)
        ]

    def _pool(self, logits: NDArray[np.float32]) -> float:
        """One logit of a picture's large squares."""
        return float(logits.max() if self._crops.pool == "max" else logits.mean())

    def _squares(self, image: Image.Image) -> NDArray[np.uint8]:
        """One picture's squares as uint8 (k, size, size, 3): one, or `crops.count` of a wide picture."""
        import numpy as np

        size, crops = self._settings.size, self._crops
        if crops.count == 1 or max(image.size) < crops.from_ratio * min(image.size):
            return to_input(image, size)[None]
        return np.stack([to_input(square, size) for square in square_crops(image, crops.count)])

    def _can_zoom(self, image: Image.Image) -> bool:
        return self._crops.zoom is not None and min(image.size) >= self._crops.zoom.min_side

    def _is_undecided(self, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
        import numpy as np

        zoom = self._crops.zoom
        return np.zeros(len(logits), dtype=bool) if zoom is None else is_within(logits, zoom.band)

    def _zoomed(self, image: Image.Image, logit: float) -> tuple[float, int]:
        """Give the logit with the small squares, and how many they are.

        Works show in one of them and the rest is clear, so they are pooled by the log of the mean odds, which lies
        between mean and maximum.
        """
        import numpy as np

        zoom = self._crops.zoom
        assert zoom is not None, "asked for pictures that can be zoomed alone"  # noqa: S101
        squares = [to_input(one, self._settings.size) for one in zoom_crops(image, zoom.share, zoom.row, zoom.most)]
        step = self.engine.contract.max_batch
        parts = [self.engine.run(np.stack(squares[at : at + step])) for at in range(0, len(squares), step)]
        pooled = float(np.log(np.mean(np.exp(np.concatenate(parts).astype(np.float64)))))
        return (1 - zoom.weight) * logit + zoom.weight * pooled, len(squares)

    def _result(self, probability: float, views: int, milliseconds: float, batch: int) -> StageResult:
        exits = self._settings.exits
        return StageResult(
            stage=self.name,
            probability=probability,
            exits=exits,
            verdict=verdict_of(probability, exits),
            milliseconds=round(milliseconds, 3),
            batch=batch,
            detail={} if views == 1 else {"views": views},
        )
