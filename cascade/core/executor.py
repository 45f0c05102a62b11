"""The stages of a cascade as they are asked: where each lies in memory, how long it may take, and if it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cascade.config.budget import BudgetParams
from cascade.core.memory import GIB, LoadError, MeasuredSizes, MemoryLimitError, MemoryManager
from cascade.core.router import StageResult, estimate, skip
from cascade.core.timeouts import StageTimeoutError, Timeouts
from cascade.release.store import FusionRule
from cascade.stages.base import Stage
from cascade.stages.factory import memory_estimate

if TYPE_CHECKING:
    from PIL import Image

    from cascade.vlm.base import Clip

FOREVER = float("inf")
# stage 1 costs little and comes in batches; what is asked of the others at once is budget.batch
FIRST_BATCH = 16
log = logging.getLogger("streetvision")


@runtime_checkable
class ClipStage(Stage, Protocol):
    """A stage that also looks at clips as a whole."""

    def watch(self, clips: Sequence[Clip]) -> list[StageResult]:
        """Give one outcome a clip; skipped where it has no model for clips."""
        ...


@runtime_checkable
class ClosableStage(Protocol):
    """A stage that holds more than memory: a server of its own."""

    def close(self) -> None:
        """End it for good."""
        ...


@dataclass
class Slot:
    """One stage of the cascade as it is asked; without a stage `skipped` says why it is not."""

    name: str
    seconds: float
    stage: Stage | None = None
    skipped: str | None = None
    patience: Timeouts = field(init=False)

    def __post_init__(self) -> None:
        self.patience = Timeouts(self.name)


class Executor:
    """Stages in the order in which they are asked; calls may come from several threads.

    Args:
        params: limits of memory and time.
        rule: turns a trace into the estimate that the next stage is given.
        owner: the release's id, under which measured sizes are kept.
        patient: no time limits.
        sizes: where measured sizes are kept between starts.

    Attributes:
        asked: those that can be asked, and between them those that are left out.
    """

    def __init__(
        self, params: BudgetParams, rule: FusionRule, owner: str, *, patient: bool = False, sizes: Path | None = None
    ) -> None:
        self.asked: list[Slot] = []
        self._params, self._rule, self._patient = params, rule, patient
        measured = MeasuredSizes(sizes)
        self._memory = {
            kind: MemoryManager(
                int(gib * GIB), kind=kind, sizes=measured, prefix=f"{owner}/", retry_seconds=params.retry_seconds
            )
            for kind, gib in (("RAM", params.ram_gib), ("GPU memory", params.gpu_gib))
        }

    @property
    def stages(self) -> list[Stage]:
        """Those that can be asked."""
        return [asked.stage for asked in self.asked if asked.stage is not None]

    def add(self, stage: Stage, folder: Path) -> None:
        """Append a stage; an empty path stands for no folder, whose stage knows its own size."""
        seconds = FOREVER if self._patient else float(getattr(self._params.stage_seconds, stage.name, FOREVER))
        size = memory_estimate(stage, folder) if folder != Path() else stage.memory_bytes
        self._memory[_kind(stage)].add(stage, size, pinned=not self.stages)
        self.asked.append(Slot(stage.name, seconds, stage))

    def leave_out(self, name: str, why: str) -> None:
        """Append the name of a stage that every trace shall show as skipped."""
        self.asked.append(Slot(name, 0, skipped=why))

    def check(self) -> None:
        """Refuse a profile that cannot fit, before anything is loaded.

        Raises:
            MemoryLimitError: names the stage, what it needs and the limit.
        """
        for memory in self._memory.values():
            memory.check()

    def load(self, *, ahead: bool) -> None:
        """Load and warm up stage 1, and with `ahead` as many of the others as have room together.

        Raises:
            MemoryLimitError: a stage can never fit.
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
            except (MemoryLimitError, LoadError) as error:
                if not index:
                    raise (error.__cause__ or error) from None
                log.warning("%s; the cascade goes on without it", error)

    def close(self) -> None:
        """Unload every stage."""
        for memory in self._memory.values():
            memory.close()
        for stage in self.stages:
            # a judge behind a server only sleeps after unload
            if isinstance(stage, ClosableStage):
                stage.close()

    def ask(
        self, asked: Slot, images: Sequence[Image.Image], traces: list[list[StageResult]], until: float = FOREVER
    ) -> None:
        """Append to the trace of each image that is still undecided what a stage says of it.

        Args:
            asked: one of `asked`.
            images: upright RGB, one a trace.
            traces: outcomes of the stages before, empty for the first.
            until: of `time.monotonic()`: images that were not reached by then are skipped.
        """
        waiting = [index for index, trace in enumerate(traces) if not trace or trace[-1].outcome == "undecided"]
        seen = list(self._outcomes(asked, images, traces, waiting, until))
        for index, outcome in zip(waiting, seen, strict=True):
            traces[index].append(outcome)

    def watch(self, clip: Clip, until: float = FOREVER) -> StageResult | None:
        """Ask the first stage that watches clips as a whole; None where none does, or it has no opinion."""
        for asked in self.asked:
            if not isinstance(stage := asked.stage, ClipStage):
                continue
            seconds = min(asked.seconds, until - time.monotonic())
            try:
                (seen,) = asked.patience.call(partial(self._watch, stage, clip, seconds), seconds)
            except Exception as error:
                log.warning("the %s did not watch the clip: %s", asked.name, error)
                return None
            return seen if seen.probability is not None else None
        return None

    def _watch(self, stage: ClipStage, clip: Clip, seconds: float) -> list[StageResult]:
        with self._memory[_kind(stage)].use(stage.name, seconds):
            return stage.watch([clip])

    def _outcomes(
        self,
        asked: Slot,
        images: Sequence[Image.Image],
        traces: list[list[StageResult]],
        waiting: list[int],
        until: float,
    ) -> Iterator[StageResult]:
        """Ask a stage about the images that wait, a few at a time, so that those done when time is up count."""
        first = not any(traces)
        step = FIRST_BATCH if first and asked.name == "classifier" else self._params.batch
        stage, given_up = asked.stage, asked.skipped
        for start in range(0, len(waiting), step):
            some = waiting[start : start + step]
            if given_up is None and until <= time.monotonic():
                given_up = "the time for the whole answer was up"
            if stage is None or given_up is not None:
                yield from (skip(asked.name, given_up or "") for _ in some)
                continue
            priors = None if first else [estimate(traces[index], self._rule) for index in some]
            begun = time.perf_counter()
            try:
                yield from self._call(asked, stage, [images[index] for index in some], priors, until)
            except (StageTimeoutError, MemoryLimitError) as error:
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
        self, asked: Slot, stage: Stage, images: list[Image.Image], priors: list[float | None] | None, until: float
    ) -> list[StageResult]:
        seconds = min(asked.seconds, until - time.monotonic())
        given = None if priors is None else [0.5 if prior is None else prior for prior in priors]

        def look() -> list[StageResult]:
            with self._memory[_kind(stage)].use(stage.name, seconds) as loaded:
                return loaded.predict(images, given)

        seen = asked.patience.call(look, seconds)
        if len(seen) != len(images):
            raise RuntimeError(f"the {asked.name} gave {len(seen)} outcomes for {len(images)} images")
        return seen

    @staticmethod
    def _skipped(asked: Slot, why: str, begun: float, count: int) -> list[StageResult]:
        milliseconds = round((time.perf_counter() - begun) * 1000, 3)
        return [skip(asked.name, why, milliseconds)] * count


def _kind(stage: Stage) -> str:
    """Which memory a stage lies in: stages on a graphics card say so by an attribute `device`."""
    return "GPU memory" if str(getattr(stage, "device", "cpu")).startswith("cuda") else "RAM"
