"""The cascade as a whole: images in, answers with their trace out. Service and command line both ask it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict

from cascade.budget import GIB, Budget, BudgetError, LoadError, Sizes
from cascade.config.budget import BudgetParams
from cascade.patience import OutOfTimeError, Patience
from cascade.release import CascadeSettings, Release, ReleaseError, Rule
from cascade.router import CUT, Decision, Label, NoEstimateError, Outcome, decide, estimate, skip
from cascade.stages import Stage
from cascade.stages.build import build_stage, memory_estimate

if TYPE_CHECKING:
    from PIL import Image

    from cascade.judge import Clip
    from cascade.stages.classifier import ClassifierStage

PREDICT = "/v1/predict"
CLIP = "/v1/clip"
FOREVER = float("inf")
# stage 1 costs little and comes in batches; what is asked of the others at once is budget.batch
FIRST_BATCH = 16
OFF = "switched off"
# who decides where no stage has an opinion and a fallback was given
NOBODY = "nobody"
log = logging.getLogger("streetvision")


class Answer(BaseModel):
    """What the cascade says about one image; `milliseconds` is the sum over its stages."""

    model_config = ConfigDict(frozen=True)
    probability: float
    label: Label
    decided_by: str
    reason: str
    stages: list[Outcome]
    milliseconds: float
    release: str
    cached: bool = False

    @property
    def complete(self) -> bool:
        """Whether every stage that should have looked did: nothing failed or ran out of time or memory."""
        return all(seen.skipped is None or seen.skipped.startswith(OFF) for seen in self.stages)


class Reply(BaseModel):
    """What the service answers to `PREDICT`: one result an image, in their order."""

    model_config = ConfigDict(frozen=True)
    release: str
    results: list[Answer]


@runtime_checkable
class Watching(Stage, Protocol):
    """A stage that also looks at clips as a whole."""

    def watch(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Give one outcome a clip; skipped where it has no model for clips."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A stage that holds more than memory: a server of its own."""

    def close(self) -> None:
        """End it for good."""
        ...


@dataclass
class Asked:
    """One stage of the cascade as it is asked: `skipped` says why it is not."""

    name: str
    seconds: float
    skipped: str | None = None
    patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self.patience = Patience(self.name)


class Cascade:
    """The stages of one release; `answer` may be called from several threads.

    Args:
        release: verified.
        budget: limits of memory and time.
        only: names of stages, where only these shall be asked.
        stages: take the place of the release's own, for tests and experiments.
        patient: no time limits: for measurements and single pictures by hand.
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
        budget: BudgetParams | None = None,
        *,
        only: Collection[str] | None = None,
        stages: Sequence[Stage] | None = None,
        patient: bool = False,
        sizes: Path | None = None,
        settings: CascadeSettings | None = None,
        fallback: float | None = None,
        spare: Path | None = None,
    ) -> None:
        self.release, self._spare = release, spare
        self.settings = settings or release.settings
        self._fallback = fallback
        self.params = budget or BudgetParams()
        self.rule: Rule = self.settings.rule
        self.stages: list[Stage] = []
        self.asked: list[Asked] = []
        self._patient, self._is_open = patient, False
        measured = Sizes(sizes)
        self._memory = {
            kind: Budget(
                int(gib * GIB),
                kind=kind,
                sizes=measured,
                prefix=f"{release.id}/",
                retry_seconds=self.params.retry_seconds,
            )
            for kind, gib in (("RAM", self.params.ram_gib), ("GPU memory", self.params.gpu_gib))
        }
        if stages is None:
            self._add_release(only)
        else:
            for stage in stages:
                self._add(stage, Path())

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
        for memory in self._memory.values():
            memory.check()

    def load(self, *, ahead: bool = True) -> Self:
        """Load and warm up stage 1, and with `ahead` as many of the others as have room together.

        Raises:
            BudgetError: a stage can never fit.
            Exception: stage 1 is unusable; another one that is, is skipped and the trace says so.
        """
        self.check()
        for index, stage in enumerate(self.stages):
            memory = self._memory[_kind(stage)]
            if index and not (ahead and memory.has_room(stage.name)):
                continue
            try:
                with memory.use(stage.name):
                    pass
            except (BudgetError, LoadError) as error:
                if not index:
                    raise (error.__cause__ or error) from None
                log.warning("%s; the cascade goes on without it", error)
        self._is_open = True
        return self

    def close(self) -> None:
        """Unload every stage."""
        self._is_open = False
        for memory in self._memory.values():
            memory.close()
        for stage in self.stages:
            # a judge behind a server only sleeps after unload
            if isinstance(stage, Closing):
                stage.close()

    def answer(
        self, images: Sequence[Image.Image], until: float = FOREVER, *, first_only: bool = False
    ) -> list[Answer]:
        """Answer for upright RGB images, in their order; a stage sees only what those before it left undecided.

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
        traces: list[list[Outcome]] = [[] for _ in images]
        for asked in self.asked[:1] if first_only else self.asked:
            waiting = [index for index, trace in enumerate(traces) if not trace or trace[-1].outcome == "undecided"]
            for index, seen in zip(waiting, list(self._ask(asked, images, traces, waiting, until)), strict=True):
                traces[index].append(seen)
        return [self._answer(trace) for trace in traces]

    def watch(self, clip: Clip, until: float = FOREVER) -> Outcome | None:
        """Ask the first stage that watches clips as a whole; None where none does, or it has no opinion."""
        for asked in self.asked:
            stage = next((one for one in self.stages if one.name == asked.name), None)
            if not isinstance(stage, Watching):
                continue
            seconds = min(asked.seconds, until - time.monotonic())
            try:
                (seen,) = asked.patience.call(partial(self._watch, stage, clip, seconds), seconds)
            except Exception as error:
                log.warning("the %s did not watch the clip: %s", asked.name, error)
                return None
            return seen if seen.probability is not None else None
        return None

    def _watch(self, stage: Watching, clip: Clip, seconds: float) -> list[Outcome]:
        with self._memory[_kind(stage)].use(stage.name, seconds):
            return stage.watch([clip])

    def _add_release(self, only: Collection[str] | None) -> None:
        settings, folder = self.settings, self.release.folder
        for entry in settings.stages:
            own = folder if entry.name == "classifier" else self._own(entry.name, alone=only is not None)
            wanted = entry.on if only is None else entry.name in only
            if only is not None and not wanted:
                continue
            if not wanted:
                self.asked.append(Asked(entry.name, 0, f"{OFF}: {entry.why}" if entry.why else OFF))
                continue
            try:
                self._add(build_stage(entry.name, own, settings), own)
            except (OSError, RuntimeError, ValueError) as error:
                if entry.name == "classifier":
                    raise
                if only is not None:
                    raise ReleaseError(f"the {entry.name} cannot be asked alone: {error}") from None
                log.warning("the %s is left out: %s", entry.name, error)
                self.asked.append(Asked(entry.name, 0, f"its files are missing or unusable: {error}"))
        if not self.asked:
            raise ReleaseError(f"release {self.release.id} has no stage {' or '.join(only or ())}")

    def _own(self, name: str, *, alone: bool) -> Path:
        """A stage's folder; a release has none of what it switches off, which may be asked alone all the same."""
        own = self.release.folder / name
        return self._spare / name if alone and self._spare and not own.is_dir() else own

    def _add(self, stage: Stage, folder: Path) -> None:
        seconds = FOREVER if self._patient else float(getattr(self.params.stage_seconds, stage.name, FOREVER))
        size = memory_estimate(stage, folder) if folder != Path() else stage.memory_bytes
        self._memory[_kind(stage)].add(stage, size, pinned=not self.stages)
        self.stages.append(stage)
        self.asked.append(Asked(stage.name, seconds))

    def _ask(
        self, asked: Asked, images: Sequence[Image.Image], traces: list[list[Outcome]], waiting: list[int], until: float
    ) -> Iterator[Outcome]:
        """Ask a stage about the images that wait, a few at a time, so that those done when time is up count."""
        first = not any(traces)
        step = FIRST_BATCH if first and asked.name == "classifier" else self.params.batch
        given_up = asked.skipped
        for start in range(0, len(waiting), step):
            some = waiting[start : start + step]
            if given_up is None and until <= time.monotonic():
                given_up = "the time for the whole answer was up"
            if given_up is not None:
                yield from (skip(asked.name, given_up) for _ in some)
                continue
            priors = None if first else [estimate(traces[index], self.rule) for index in some]
            begun = time.perf_counter()
            try:
                yield from self._call(asked, [images[index] for index in some], priors, until)
            except (OutOfTimeError, BudgetError) as error:
                given_up = str(error)
                yield from self._skipped(asked, given_up, begun, len(some))
            except LoadError as error:
                log.warning("%s", error)
                given_up = "it could not be loaded; the log says why"
                yield from self._skipped(asked, given_up, begun, len(some))
            except Exception as error:
                # one picture may break a stage; the next few get their chance
                log.exception("the %s failed", asked.name)
                yield from self._skipped(asked, f"it failed ({type(error).__name__})", begun, len(some))

    def _call(
        self, asked: Asked, images: list[Image.Image], priors: list[float | None] | None, until: float
    ) -> list[Outcome]:
        seconds = min(asked.seconds, until - time.monotonic())
        stage = next(one for one in self.stages if one.name == asked.name)
        given = None if priors is None else [0.5 if prior is None else prior for prior in priors]

        def look() -> list[Outcome]:
            with self._memory[_kind(stage)].use(stage.name, seconds) as loaded:
                return loaded.predict(images, given)

        seen = asked.patience.call(look, seconds)
        if len(seen) != len(images):
            raise RuntimeError(f"the {asked.name} gave {len(seen)} outcomes for {len(images)} images")
        return seen

    @staticmethod
    def _skipped(asked: Asked, why: str, begun: float, count: int) -> list[Outcome]:
        milliseconds = round((time.perf_counter() - begun) * 1000, 3)
        return [skip(asked.name, why, milliseconds)] * count

    def _answer(self, trace: list[Outcome]) -> Answer:
        try:
            decision = decide(trace, self.rule)
        except NoEstimateError as error:
            if self._fallback is None:
                raise
            label: Label = "roadwork" if self._fallback > CUT else "clear"
            decision = Decision(probability=self._fallback, label=label, decided_by=NOBODY, reason=str(error))
        milliseconds = round(sum(seen.milliseconds for seen in trace), 3)
        return Answer(**decision.model_dump(), stages=trace, milliseconds=milliseconds, release=self.release.id)


def _kind(stage: Stage) -> str:
    """Which memory a stage lies in: stages on a graphics card say so by an attribute `device`."""
    return "GPU memory" if str(getattr(stage, "device", "cpu")).startswith("cuda") else "RAM"
