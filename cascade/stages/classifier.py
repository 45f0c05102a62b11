"""Stage 1: the exported classifier, which decides the clear cases."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.engines import Engine, load_engine
from cascade.preprocess import to_input
from cascade.release import Release
from cascade.router import Outcome, judge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


class ClassifierStage:
    """The engine of a release between preprocessing and exits."""

    name = "classifier"

    def __init__(self, release: Release) -> None:
        self.memory_bytes = 0
        self._release = release
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
        settings = self._release.manifest.engine
        engine = load_engine(self._release.folder, settings.kind, settings.precision, settings.threads)
        # the first inference allocates and compiles; no request shall wait for that
        size = self._release.manifest.size
        engine.run(np.zeros((1, size, size, 3), dtype=np.uint8))
        self._engine = engine
        self.memory_bytes = max(0, resident_bytes() - before)

    def predict(self, images: Sequence[Image.Image]) -> list[Outcome]:
        """See `Stage.predict`."""
        step = self.engine.contract.max_batch
        return [seen for start in range(0, len(images), step) for seen in self._batch(images[start : start + step])]

    def unload(self) -> None:
        """See `Stage.unload`."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None

    def _batch(self, images: Sequence[Image.Image]) -> list[Outcome]:
        import numpy as np

        start = time.perf_counter()
        size = self._release.manifest.size
        logit = self.engine.run(np.stack([to_input(image, size) for image in images]))
        milliseconds = (time.perf_counter() - start) * 1000
        return [self._outcome(float(p), milliseconds) for p in sigmoid(logit)]

    def _outcome(self, probability: float, milliseconds: float) -> Outcome:
        exits = self._release.manifest.thresholds
        return Outcome(
            stage=self.name,
            probability=probability,
            exits=exits,
            outcome=judge(probability, exits),
            milliseconds=round(milliseconds, 3),
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
