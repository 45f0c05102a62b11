"""Runs the stages of a cascade: each within its memory and time limits, and past the failures of single ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.config import MemoryParams, TimeoutParams
from cascade.core.batching import Batcher
from cascade.core.measured_sizes import MeasuredSizes, prefix_of
from cascade.core.memory import GIB, LoadError, MemoryLimitError, MemoryManager
from cascade.core.router import estimate
from cascade.core.timeouts import StageBusyError, StageTimeoutError, Timeouts
from cascade.release.manifest import FusionRule
from cascade.stages.base import ClipStage, ClosableStage, SkipCause, Stage, StageResult, skipped_result
from cascade.stages.factory import memory_estimate

if TYPE_CHECKING:
    from PIL import Image

    from cascade.vlm.base import Clip

FOREVER = float("inf")
# stage 1 is cheap and takes many images at once; the others get `timeouts.batch`
FIRST_BATCH = 16
NEUTRAL_PRIOR = 0.5
Trace = list[StageResult]
log = logging.getLogger("streetvision")


@dataclass
class Slot:
    """The place of one stage in the cascade.

    Attributes:
        seconds: that one call may take.
        batch: images that a call gets at most, so that those done when time is up count.
        stage: None where the stage cannot run; then `skipped` is the cause that every trace shows.
        timeouts: the stage's thread, with its pool of OpenMP threads, and its time limit.
        batcher: puts the calls of several requests together.
    """

    name: str
    seconds: float = FOREVER
    batch: int = 1
    stage: Stage | None = None
    skipped: SkipCause | None = None
    timeouts: Timeouts = field(init=False)
    batcher: Batcher | None = None

    def __post_init__(self) -> None:
        self.timeouts = Timeouts(self.name)


class Executor:
    """The stages in their order; `run` may be called from several threads.

    Args:
        memory: limits of memory.
        timeouts: limits of time.
        rule: turns a trace into the prior of the next stage.
        owner: the release's id, under which measured sizes are kept.
        enforce_timeouts: whether the time limits of stages hold.
        sizes: where measured sizes are kept between starts.

    Attributes:
        slots: one a stage, including those that are skipped.
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
        self._estimates: dict[str, int] = {name: int(gib * GIB) for name, gib in memory.sizes_gib.items()}
        measured = MeasuredSizes(sizes)
        self._memory = {
            kind: MemoryManager(
                int(gib * GIB),
                kind=kind,
                sizes=measured,
                prefix=prefix_of(owner, device),
                retry_seconds=memory.retry_seconds,
            )
            for kind, device, gib in (("RAM", "cpu", memory.ram_gib), ("GPU memory", "cuda", memory.gpu_gib))
        }

    @property
    def stages(self) -> list[Stage]:
        """Those that can run, in order."""
        return [slot.stage for slot in self.slots if slot.stage is not None]

    def add(self, stage: Stage, folder: Path) -> None:
        """Append a stage; an empty path stands for no folder, whose stage knows its own size."""
        seconds = self._timeouts.seconds(stage.name) if self._enforce_timeouts else FOREVER
        estimate = self._estimates.get(stage.name, 0)
        size = memory_estimate(stage, folder, estimate) if folder != Path() else stage.memory_bytes
        self._memory_of(stage).add(stage, size, pinned=not self.stages)
        batch = FIRST_BATCH if not self.slots and stage.name == "classifier" else self._timeouts.batch
        slot = Slot(stage.name, seconds, batch, stage)
        slot.batcher = Batcher(partial(self._run_batch, slot), batch, seconds, lanes=getattr(stage, "lanes", 1))
        self.slots.append(slot)

    def skip(self, name: str, cause: SkipCause) -> None:
        """Append the name of a stage that every trace shows as skipped."""
        self.slots.append(Slot(name, skipped=cause))

    def check(self) -> None:
        """Refuse a profile that cannot fit, before anything is loaded.

        Raises:
            MemoryLimitError: names the stage, what it needs and the limit.
        """
        for memory in self._memory.values():
            memory.check()

    def load(self, *, ahead: bool) -> None:
        """Load and warm up the first stage, and with `ahead` as many of the others as have room together.

        Raises:
            MemoryLimitError: a stage can never fit.
            Exception: the first stage is unusable; another one that is, is skipped and the trace says so.
        """
        self.check()
        for index, stage in enumerate(self.stages):
            memory = self._memory_of(stage)
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
        """Unload every stage and end its threads."""
        for memory in self._memory.values():
            memory.close()
        for slot in self.slots:
            slot.timeouts.close()
            # a VLM behind a server only sleeps after unload
            if isinstance(slot.stage, ClosableStage):
                slot.stage.close()

    def run(self, slot: Slot, images: Sequence[Image.Image], traces: list[Trace], until: float = FOREVER) -> None:
        """Run a stage on the images that are still undecided, and append its results to their traces.

        Args:
            slot: one of `slots`.
            images: upright RGB, one a trace.
            traces: results of the stages before, empty for the first.
            until: of `time.monotonic()`: images that were not reached by then are skipped.
        """
        undecided = [index for index, trace in enumerate(traces) if not trace or trace[-1].verdict == "undecided"]
        cause = slot.skipped
        for start in range(0, len(undecided), slot.batch):
            batch = undecided[start : start + slot.batch]
            if cause is None and time.monotonic() >= until:
                cause = "deadline"
            if cause is not None:
                results = [skipped_result(slot.name, cause)] * len(batch)
            else:
                priors = self._priors([traces[index] for index in batch])
                results, cause = self._attempt(slot, [images[index] for index in batch], priors, until)
            for index, result in zip(batch, results, strict=True):
                traces[index].append(result)

    def run_clip(self, clip: Clip, until: float = FOREVER) -> StageResult | None:
        """Run the first stage that takes clips as a whole; None where there is none, or it gives no estimate."""
        for slot in self.slots:
            if not isinstance(stage := slot.stage, ClipStage):
                continue
            seconds = min(slot.seconds, until - time.monotonic())
            try:
                (result,) = slot.timeouts.call(partial(self._predict_clip, stage, clip, seconds), seconds)
            except Exception as error:
                log.warning("the %s gave no result for the clip: %s", slot.name, error)
                return None
            return result if result.probability is not None else None
        return None

    def _attempt(
        self, slot: Slot, images: list[Image.Image], priors: list[float] | None, until: float
    ) -> tuple[list[StageResult], SkipCause | None]:
        """Run a stage on one batch.

        Returns:
            One result an image; and the cause to skip the images after this batch too, None where there is none.
        """
        begun = time.perf_counter()
        cause: SkipCause
        try:
            assert slot.batcher is not None, "a slot without a stage is skipped"  # noqa: S101
            return slot.batcher.call(images, priors, until), None
        except (StageTimeoutError, StageBusyError, MemoryLimitError, LoadError) as error:
            log.warning("the %s is skipped: %s", slot.name, error)
            cause, goes_on = skip_cause(error, time_is_up=time.monotonic() >= until), False
        except Exception:
            # one image may break a stage; the next batch gets its chance
            log.exception("the %s failed", slot.name)
            cause, goes_on = "failed", True
        milliseconds = round((time.perf_counter() - begun) * 1000, 3)
        skipped = skipped_result(slot.name, cause, milliseconds, batch=len(images))
        return [skipped] * len(images), None if goes_on else cause

    def _run_batch(
        self, slot: Slot, images: Sequence[Image.Image], priors: Sequence[float] | None, until: float
    ) -> list[StageResult]:
        """Run a stage on images of one or several callers."""
        stage = slot.stage
        assert stage is not None, "a slot without a stage is skipped"  # noqa: S101
        seconds = min(slot.seconds, until - time.monotonic())

        def predict() -> list[StageResult]:
            with self._memory_of(stage).use(stage.name, seconds) as loaded:
                return loaded.predict(images, priors)

        results = slot.timeouts.call(predict, seconds)
        if len(results) != len(images):
            raise RuntimeError(f"the {slot.name} gave {len(results)} results for {len(images)} images")
        return results

    def _predict_clip(self, stage: ClipStage, clip: Clip, seconds: float) -> list[StageResult]:
        with self._memory_of(stage).use(stage.name, seconds):
            return stage.predict_clips([clip])

    def _priors(self, traces: list[Trace]) -> list[float] | None:
        """The estimates so far, one a trace; None where no stage has run yet."""
        if not any(traces):
            return None
        estimates = [estimate(trace, self._rule) for trace in traces]
        return [NEUTRAL_PRIOR if p is None else p for p in estimates]

    def _memory_of(self, stage: Stage) -> MemoryManager:
        """Which memory a stage lies in: stages on a graphics card say so by an attribute `device`."""
        on_gpu = str(getattr(stage, "device", "cpu")).startswith("cuda")
        return self._memory["GPU memory" if on_gpu else "RAM"]


def skip_cause(error: Exception, *, time_is_up: bool) -> SkipCause:
    """Name why a stage was given up; `time_is_up`: the whole answer's deadline has passed, and left it too little."""
    if isinstance(error, LoadError):
        return "failed"
    if isinstance(error, StageBusyError):
        return "busy"
    if time_is_up:
        return "deadline"
    return "memory" if isinstance(error, MemoryLimitError) else "timeout"
