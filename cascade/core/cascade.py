"""The cascade as a whole: images in, predictions with their trace out. Service and command line both call it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

from cascade.config import MemoryParams, TimeoutParams
from cascade.core.executor import FOREVER, Executor, Trace
from cascade.core.router import Decision, NoEstimateError, decide
from cascade.extras import MissingExtraError
from cascade.probability import Label, label_of
from cascade.release.store import CascadeSettings, Release, ReleaseError, StageEntry
from cascade.stages.base import Stage, StageResult
from cascade.stages.factory import build_stage

if TYPE_CHECKING:
    from PIL import Image

    from cascade.stages.classifier import ClassifierStage
    from cascade.vlm.base import Clip

PREDICT = "/v1/predict"
CLIP = "/v1/clip"
RELEASE = "/v1/release"
RELEASES = "/v1/releases"
# who decides where no stage gives an estimate and there is a fallback
NOBODY = "nobody"
# what building a stage raises: files or libraries that are missing, or that do not fit
UNUSABLE = (MissingExtraError, OSError, RuntimeError, ValueError)
log = logging.getLogger("streetvision")


class Prediction(BaseModel):
    """What the cascade says about one image.

    Attributes:
        milliseconds: the sum over its stages.
        notes: what was odd about the file, for people.
    """

    model_config = ConfigDict(frozen=True)
    probability: float
    label: Label
    decided_by: str
    reason: str
    stages: list[StageResult]
    milliseconds: float
    release: str
    cached: bool = False
    notes: list[str] = []

    def enlarged(self, factor: int) -> Prediction:
        """Give places in the file's own pixels, where the image was decoded `factor` times smaller."""
        if factor == 1:
            return self
        return self.model_copy(update={"stages": [result.enlarged(factor) for result in self.stages]})

    def noted(self, notes: Sequence[str]) -> Prediction:
        """Add what was odd about the file."""
        return self.model_copy(update={"notes": [*self.notes, *notes]}) if notes else self

    @property
    def complete(self) -> bool:
        """Whether every stage that is switched on gave a result: none failed or ran out of time or memory."""
        return all(result.skipped in (None, "off") for result in self.stages)


class PredictResponse(BaseModel):
    """What the service answers to `PREDICT`: one result an image, in their order."""

    model_config = ConfigDict(frozen=True)
    release: str
    results: list[Prediction]


class Cascade:
    """The stages of one release; `predict` may be called from several threads.

    Args:
        release: verified.
        memory: limits of memory.
        timeouts: limits of time.
        only: names of stages, where only these shall run, whether the release switches them on or not.
        stages: take the place of the release's own, for tests and experiments.
        enforce_timeouts: whether the time limits of stages hold; not for measurements and single images by hand.
        settings: in place of the release's own, for experiments.
        fallback: the probability of an image for which no stage gives an estimate; without it that is an error.
        sizes: where measured sizes are kept between starts.
        spare: models of the working folder, which stand in for those of `only` that the release left out.

    Raises:
        ReleaseError: one of `only` is not among the release's stages, or cannot be built.
    """

    def __init__(
        self,
        release: Release,
        memory: MemoryParams | None = None,
        timeouts: TimeoutParams | None = None,
        *,
        only: Collection[str] | None = None,
        stages: Sequence[Stage] | None = None,
        enforce_timeouts: bool = True,
        sizes: Path | None = None,
        settings: CascadeSettings | None = None,
        fallback: float | None = None,
        spare: Path | None = None,
    ) -> None:
        self.release, self._spare, self._fallback = release, spare, fallback
        self.settings = settings or release.settings
        self.rule = self.settings.rule
        self._is_open = False
        self._executor = Executor(
            memory or MemoryParams(),
            timeouts or TimeoutParams(),
            self.rule,
            release.id,
            enforce_timeouts=enforce_timeouts,
            sizes=sizes,
        )
        if stages is not None:
            for stage in stages:
                self._executor.add(stage, Path())
        elif only is not None:
            self._add_alone(only)
        else:
            for entry in self.settings.stages:
                self._add_released(entry)

    @property
    def stages(self) -> Sequence[Stage]:
        """Those that can run, in order."""
        return self._executor.stages

    @property
    def classifier(self) -> ClassifierStage:
        """Stage 1.

        Raises:
            LookupError: this cascade has none.
        """
        from cascade.stages.classifier import ClassifierStage

        for stage in self.stages:
            if isinstance(stage, ClassifierStage):
                return stage
        raise LookupError("this cascade has no classifier")

    def check(self) -> None:
        """Refuse a profile that cannot fit, before anything is loaded.

        Raises:
            MemoryLimitError: names the stage, what it needs and the limit.
        """
        self._executor.check()

    def load(self, *, ahead: bool = True) -> Self:
        """Load and warm up stage 1, and with `ahead` as many of the others as have room together.

        Raises:
            MemoryLimitError: a stage can never fit.
            Exception: stage 1 is unusable; another one that is, is skipped and the trace says so.
        """
        self._executor.load(ahead=ahead)
        self._is_open = True
        return self

    def close(self) -> None:
        """Unload every stage."""
        self._is_open = False
        self._executor.close()

    def __enter__(self) -> Self:
        """Give the loaded cascade; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `close`."""
        self.close()

    def predict(
        self, images: Sequence[Image.Image], until: float = FOREVER, *, first_only: bool = False
    ) -> list[Prediction]:
        """Predict for upright RGB images, in their order; a stage gets only what those before it left undecided.

        Args:
            images: any number.
            until: of `time.monotonic()`: what is known by then is the answer.
            first_only: run stage 1 alone, as for the frames of a clip.

        Raises:
            RuntimeError: not loaded.
            NoEstimateError: not one stage gave an estimate for an image.
        """
        if not self._is_open:
            raise RuntimeError("the cascade is not loaded; call load() first")
        traces: list[Trace] = [[] for _ in images]
        for slot in self._executor.slots[:1] if first_only else self._executor.slots:
            self._executor.run(slot, images, traces, until)
        return [self._prediction(trace) for trace in traces]

    def run_clip(self, clip: Clip, until: float = FOREVER) -> StageResult | None:
        """Run the first stage that takes clips as a whole; None where there is none, or it gives no estimate."""
        return self._executor.run_clip(clip, until)

    def _prediction(self, trace: Trace) -> Prediction:
        decision = self._decide(trace)
        milliseconds = round(sum(result.milliseconds for result in trace), 3)
        return Prediction(**decision.model_dump(), stages=trace, milliseconds=milliseconds, release=self.release.id)

    def _decide(self, trace: Trace) -> Decision:
        try:
            return decide(trace, self.rule)
        except NoEstimateError as error:
            if self._fallback is None:
                raise
            label = label_of(self._fallback)
            return Decision(probability=self._fallback, label=label, decided_by=NOBODY, reason=str(error))

    def _add_released(self, entry: StageEntry) -> None:
        """Add a stage as the release sets it; only the classifier is indispensable."""
        if not entry.on:
            self._executor.skip(entry.name, "off")
            return
        try:
            self._add(entry.name, self._folder(entry.name))
        except UNUSABLE as error:
            if entry.name == "classifier":
                raise
            log.warning("the %s is skipped: %s", entry.name, error)
            self._executor.skip(entry.name, "missing")

    def _add_alone(self, only: Collection[str]) -> None:
        """Add some stages and no others; a release has no files of those that it switches off."""
        names = [entry.name for entry in self.settings.stages if entry.name in only]
        if not names:
            raise ReleaseError(f"release {self.release.id} has no stage {' or '.join(only)}")
        for name in names:
            own = self._folder(name)
            folder = self._spare / name if self._spare and not own.is_dir() else own
            try:
                self._add(name, folder)
            except UNUSABLE as error:
                raise ReleaseError(f"the {name} cannot run alone: {error}") from None

    def _add(self, name: str, folder: Path) -> None:
        self._executor.add(build_stage(name, folder, self.settings), folder)

    def _folder(self, name: str) -> Path:
        return self.release.folder if name == "classifier" else self.release.folder / name
