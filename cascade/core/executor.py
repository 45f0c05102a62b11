"""The stages of a cascade as they are slot: where each lies in memory, how long it may take, and if it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cascade.config import MemoryParams, TimeoutParams
from cascade.core.memory import GIB, LoadError, MeasuredSizes, MemoryLimitError, MemoryManager
from cascade.core.router import estimate
from cascade.core.timeouts import StageTimeoutError, Timeouts
from cascade.release.store import FusionRule
from cascade.stages.base import Stage, StageResult, skipped_result
from cascade.stages.factory import memory_estimate

if TYPE_CHECKING:
    from PIL import Image

    from cascade.vlm.base import Clip

FOREVER = float("inf")
# stage 1 costs little and comes in batches; what the others get at once is timeouts.batch
FIRST_BATCH = 16
log = logging.getLogger("streetvision")


@runtime_checkable
class ClipStage(Stage, Protocol):
    """A stage that also looks at clips as a whole."""

    def predict_clips(self, clips: Sequence[Clip]) -> list[StageResult]:
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
    """One stage of the cascade as it is slot; without a stage `skipped` says why it is not."""

    name: str
    seconds: float
    stage: Stage | None = None
    skipped: str | None = None
    timeouts: Timeouts = field(init=False)

    def __post_init__(self) -> None:
        self.timeouts = Timeouts(self.name)


class Executor:
    """Stages in the order in which they are slot; calls may come from several threads.

    Args:
        memory: limits of memory.
        timeouts: limits of time.
        rule: turns a trace into the estimate that the next stage is given.
        owner: the release's id, under which measured sizes are kept.
        enforce_timeouts: whether the time limits of stages hold.
        sizes: where measured sizes are kept between starts.

    Attributes:
        slot: those that can be slot, and between them those that are left out.
    """

    def __init__(
        self,
        memory: MemoryParams,
        timeouts: TimeoutParams,
        rule: FusionRule,
        owner: str,
        *,
        enforce_timeouts: bool = True,
        sizes: Path | None = None,
    ) -> None:
        self.slots: list[Slot] = []
        self._timeouts, self._rule, self._enforce_timeouts = timeouts, rule, enforce_timeouts
        measured = MeasuredSizes(sizes)
        self._memory = {
            kind: MemoryManager(
                int(gib * GIB), kind=kind, sizes=measured, prefix=f"{owner}/", retry_seconds=memory.retry_seconds
            )
            for kind, gib in (("RAM", memory.ram_gib), ("GPU memory", memory.gpu_gib))
        }

    @property
    def stages(self) -> list[Stage]:
        """Those that can be slot."""
        return [slot.stage for slot in self.slots if slot.stage is not None]

    def add(self, stage: Stage, folder: Path) -> None:
        """Append a stage; an empty path stands for no folder, whose stage knows its own size."""
        seconds = self._timeouts.seconds(stage.name) if self._enforce_timeouts else FOREVER
        size = memory_estimate(stage, folder) if folder != Path() else stage.memory_bytes
        self._memory[_kind(stage)].add(stage, size, pinned=not self.stages)
        self.slots.append(Slot(stage.name, seconds, stage))

    def skip(self, name: str, why: str) -> None:
        """Append the name of a stage that every trace shall show as skipped."""
        self.slots.append(Slot(name, 0, skipped=why))

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
            # a VLM behind a server only sleeps after unload
            if isinstance(stage, ClosableStage):
                stage.close()

    def run(
        self, slot: Slot, images: Sequence[Image.Image], traces: list[list[StageResult]], until: float = FOREVER
    ) -> None:
        """Append to the trace of each image that is still undecided what a stage says of it.

        Args:
            slot: one of `slot`.
            images: upright RGB, one a trace.
            traces: outcomes of the stages before, empty for the first.
            until: of `time.monotonic()`: images that were not reached by then are skipped.
        """
        waiting = [index for index, trace in enumerate(traces) if not trace or trace[-1].verdict == "undecided"]
        seen = list(self._results(slot, images, traces, waiting, until))
        for index, result in zip(waiting, seen, strict=True):
            traces[index].append(result)

    def run_clip(self, clip: Clip, until: float = FOREVER) -> StageResult | None:
        """Ask the first stage that watches clips as a whole; None where none does, or it has no opinion."""
        for slot in self.slots:
            if not isinstance(stage := slot.stage, ClipStage):
                continue
            seconds = min(slot.seconds, until - time.monotonic())
            try:
                (seen,) = slot.timeouts.call(partial(self._run_clip, stage, clip, seconds), seconds)
            except Exception as error:
                log.warning("the %s did not watch the clip: %s", slot.name, error)
                return None
            return seen if seen.probability is not None else None
        return None

    def _run_clip(self, stage: ClipStage, clip: Clip, seconds: float) -> list[StageResult]:
        with self._memory[_kind(stage)].use(stage.name, seconds):
            return stage.predict_clips([clip])

    def _results(
        self,
        slot: Slot,
        images: Sequence[Image.Image],
        traces: list[list[StageResult]],
        waiting: list[int],
        until: float,
    ) -> Iterator[StageResult]:
        """Ask a stage about the images that wait, a few at a time, so that those done when time is up count."""
        first = not any(traces)
        step = FIRST_BATCH if first and slot.name == "classifier" else self._timeouts.batch
        stage, given_up = slot.stage, slot.skipped
        for start in range(0, len(waiting), step):
            some = waiting[start : start + step]
            if given_up is None and until <= time.monotonic():
                given_up = "the time for the whole answer was up"
            if stage is None or given_up is not None:
                yield from (skipped_result(slot.name, given_up or "") for _ in some)
                continue
            priors = None if first else [estimate(traces[index], self._rule) for index in some]
            begun = time.perf_counter()
            try:
                yield from self._predict(slot, stage, [images[index] for index in some], priors, until)
            except (StageTimeoutError, MemoryLimitError) as error:
                given_up = str(error)
                yield from self._skipped(slot, given_up, begun, len(some))
            except LoadError as error:
                log.warning("%s", error)
                given_up = "it could not be loaded; the log says why"
                yield from self._skipped(slot, given_up, begun, len(some))
            except Exception as error:
                # one picture may break a stage; the next few get their chance
                log.exception("the %s failed", slot.name)
                yield from self._skipped(slot, f"it failed ({type(error).__name__})", begun, len(some))

    def _predict(
        self, slot: Slot, stage: Stage, images: list[Image.Image], priors: list[float | None] | None, until: float
    ) -> list[StageResult]:
        seconds = min(slot.seconds, until - time.monotonic())
        given = None if priors is None else [0.5 if prior is None else prior for prior in priors]

        def predict() -> list[StageResult]:
            with self._memory[_kind(stage)].use(stage.name, seconds) as loaded:
                return loaded.predict(images, given)

        seen = slot.timeouts.call(predict, seconds)
        if len(seen) != len(images):
            raise RuntimeError(f"the {slot.name} gave {len(seen)} outcomes for {len(images)} images")
        return seen

    @staticmethod
    def _skipped(slot: Slot, why: str, begun: float, count: int) -> list[StageResult]:
        milliseconds = round((time.perf_counter() - begun) * 1000, 3)
        return [skipped_result(slot.name, why, milliseconds)] * count


def _kind(stage: Stage) -> str:
    """Which memory a stage lies in: stages on a graphics card say so by an attribute `device`."""
    return "GPU memory" if str(getattr(stage, "device", "cpu")).startswith("cuda") else "RAM"
