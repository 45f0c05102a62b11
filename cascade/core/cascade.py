"""The cascade as a whole: images in, answers with their trace out. Service and command line both ask it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

from cascade.config import MemoryParams, TimeoutParams
from cascade.core.executor import FOREVER, Executor
from cascade.core.router import CUT, Decision, Label, NoEstimateError, decide
from cascade.extras import MissingExtraError
from cascade.release.store import CascadeSettings, Release, ReleaseError
from cascade.stages.base import Stage, StageResult
from cascade.stages.factory import build_stage

if TYPE_CHECKING:
    from PIL import Image

    from cascade.stages.classifier import ClassifierStage
    from cascade.vlm.base import Clip

PREDICT = "/v1/predict"
CLIP = "/v1/clip"
OFF = "switched off"
# who decides where no stage has an opinion and a fallback was given
NOBODY = "nobody"
log = logging.getLogger("streetvision")


class Prediction(BaseModel):
    """What the cascade says about one image; `milliseconds` is the sum over its stages."""

    model_config = ConfigDict(frozen=True)
    probability: float
    label: Label
    decided_by: str
    reason: str
    stages: list[StageResult]
    milliseconds: float
    release: str
    cached: bool = False

    @property
    def complete(self) -> bool:
        """Whether every stage that should have looked did: nothing failed or ran out of time or memory."""
        return all(seen.skipped is None or seen.skipped.startswith(OFF) for seen in self.stages)


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
        only: names of stages, where only these shall be asked.
        stages: take the place of the release's own, for tests and experiments.
        enforce_timeouts: whether the time limits of stages hold; not for measurements and single pictures by hand.
        settings: in place of the release's own, for experiments.
        fallback: the probability of an image that no stage has an opinion about; without it that is an error.
        sizes: where measured sizes are kept between starts.
        spare: models of the working folder, where one of `only` is looked for that the release left out.

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
        self.release, self._spare = release, spare
        self.settings = settings or release.settings
        self._fallback = fallback
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
        if stages is None:
            self._add_release(only)
        else:
            for stage in stages:
                self._executor.add(stage, Path())

    @property
    def stages(self) -> Sequence[Stage]:
        """Those that can be asked, in order."""
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
            BudgetError: names the stage, what it needs and the limit.
        """
        self._executor.check()

    def load(self, *, ahead: bool = True) -> Self:
        """Load and warm up stage 1, and with `ahead` as many of the others as have room together.

        Raises:
            BudgetError: a stage can never fit.
            Exception: stage 1 is unusable; another one that is, is skipped and the trace says so.
        """
        self._executor.load(ahead=ahead)
        self._is_open = True
        return self

    def close(self) -> None:
        """Unload every stage."""
        self._is_open = False
        self._executor.close()

    def predict(
        self, images: Sequence[Image.Image], until: float = FOREVER, *, first_only: bool = False
    ) -> list[Prediction]:
        """Predict for upright RGB images, in their order; a stage sees only what those before it left undecided.

        Args:
            images: any number.
            until: of `time.monotonic()`: what is known by then is the answer.
            first_only: ask stage 1 alone, as for the frames of a clip.

        Raises:
            RuntimeError: not loaded.
            NoEstimateError: not one stage had an opinion about an image.
        """
        if not self._is_open:
            raise RuntimeError("the cascade is not loaded; call load() first")
        traces: list[list[StageResult]] = [[] for _ in images]
        for slot in self._executor.slots[:1] if first_only else self._executor.slots:
            self._executor.run(slot, images, traces, until)
        return [self._prediction(trace) for trace in traces]

    def run_clip(self, clip: Clip, until: float = FOREVER) -> StageResult | None:
        """Ask the first stage that watches clips as a whole; None where none does, or it has no opinion."""
        return self._executor.run_clip(clip, until)

    def _add_release(self, only: Collection[str] | None) -> None:
        settings, folder = self.settings, self.release.folder
        for entry in settings.stages:
            own = folder if entry.name == "classifier" else self._own(entry.name, alone=only is not None)
            wanted = entry.on if only is None else entry.name in only
            if only is not None and not wanted:
                continue
            if not wanted:
                self._executor.skip(entry.name, f"{OFF}: {entry.why}" if entry.why else OFF)
                continue
            try:
                self._executor.add(build_stage(entry.name, own, settings), own)
            except (MissingExtraError, OSError, RuntimeError, ValueError) as error:
                if entry.name == "classifier":
                    raise
                if only is not None:
                    raise ReleaseError(f"the {entry.name} cannot be asked alone: {error}") from None
                log.warning("the %s is left out: %s", entry.name, error)
                about = "" if isinstance(error, MissingExtraError) else "its files are missing or unusable: "
                self._executor.skip(entry.name, f"{about}{error}")
        if not self._executor.slots:
            raise ReleaseError(f"release {self.release.id} has no stage {' or '.join(only or ())}")

    def _own(self, name: str, *, alone: bool) -> Path:
        """A stage's folder; a release has none of what it switches off, which may be asked alone all the same."""
        own = self.release.folder / name
        return self._spare / name if alone and self._spare and not own.is_dir() else own

    def _prediction(self, trace: list[StageResult]) -> Prediction:
        try:
            decision = decide(trace, self.rule)
        except NoEstimateError as error:
            if self._fallback is None:
                raise
            label: Label = "roadwork" if self._fallback > CUT else "clear"
            decision = Decision(probability=self._fallback, label=label, decided_by=NOBODY, reason=str(error))
        milliseconds = round(sum(seen.milliseconds for seen in trace), 3)
        return Prediction(**decision.model_dump(), stages=trace, milliseconds=milliseconds, release=self.release.id)
