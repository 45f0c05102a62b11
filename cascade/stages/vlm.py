"""Stage 3: the VLM, a vision-language model that says yes or no, between its backend and the router."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from pydantic import JsonValue

from cascade.stages.base import SkipCause, StageResult, skipped_result, verdict_of
from cascade.vlm.backend import load_backend
from cascade.vlm.base import Clip, VlmAnswer, VlmBackend
from cascade.vlm.pictures import thinned
from cascade.vlm.precision import vlm_precision
from cascade.vlm.settings import VlmSettings, read_settings

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger("streetvision")


class VlmStage:
    """Stage 3 of a release.

    Args:
        folder: models/vlm, or a release's copy of it.
        backend: what answers; None for the one that vlm.json names.

    Raises:
        VlmError: vlm.json is missing or unusable.
    """

    name = "vlm"

    def __init__(self, folder: Path, backend: VlmBackend | None = None) -> None:
        self.settings: VlmSettings = read_settings(folder)
        self.device = self.settings.device if self.settings.backend != "off" else "cpu"
        self.precision: str | None = None
        self._folder = folder
        self._backend = backend or load_backend(folder, self.settings)
        self.memory_bytes = self._backend.memory_bytes
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def runs_on(self) -> str:
        """The device that computes; for a server that was started, by the memory that it took there."""
        return str(getattr(self._backend, "runs_on", self.device))

    @property
    def counts(self) -> dict[str, int]:
        """How many answers there were of each kind since the start; see `cascade.vlm.base.Kind`."""
        with self._lock:
            return dict(self._counts)

    def load(self) -> None:
        """See `Stage.load`; raises VlmError where the model or its server cannot be had."""
        self._backend.load()
        self.precision = vlm_precision(self._folder, self.settings)
        self.memory_bytes = self._backend.memory_bytes

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        """See `Stage.predict`; the priors play no part in the question."""
        return self._run(images)

    def predict_clips(self, clips: Sequence[Clip]) -> list[StageResult]:
        """Give one result a clip, with the model for clips; skipped where none is set."""
        return self._run([thinned(clip, self.settings.clip_frames) for clip in clips])

    def unload(self) -> None:
        """See `Stage.unload`: a server goes to sleep where it can, otherwise it is stopped."""
        self._backend.rest()

    def close(self) -> None:
        """End it for good; a server's processes are gone when this returns."""
        self._backend.close()

    def _run(self, items: Sequence[Image.Image | Clip]) -> list[StageResult]:
        start = time.perf_counter()
        answers = self._backend.run(items)
        milliseconds = round((time.perf_counter() - start) * 1000, 3)
        with self._lock:
            self._counts.update(answer.kind for answer in answers)
        return [self.result(answer, milliseconds, len(items)) for answer in answers]

    def result(self, answer: VlmAnswer, milliseconds: float, batch: int = 1) -> StageResult:
        """Calibrate an answer and hold it against the exits; one without a yes or no is skipped."""
        detail: dict[str, JsonValue] = {"kind": answer.kind, "said": answer.said}
        if answer.kind != "answered" or answer.logit is None:
            if answer.kind != "off":
                log.warning("the vlm is skipped: %s", answer.why or answer.kind)
            cause: SkipCause = "malformed" if answer.kind == "answered" else answer.kind
            return skipped_result(self.name, cause, milliseconds, detail, batch=batch)
        p = self.settings.scaling(answer.logit)
        detail |= {"logit": round(answer.logit, 4), "mass": round(answer.mass, 4)}
        return StageResult(
            stage=self.name,
            probability=p,
            exits=self.settings.exits,
            verdict=verdict_of(p, self.settings.exits),
            milliseconds=milliseconds,
            batch=batch,
            detail=detail,
        )
