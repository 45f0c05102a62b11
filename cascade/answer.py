"""The cascade as a whole: images in, answers with their trace out. Service and command line both ask it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

from cascade.release import Release
from cascade.router import Decision, Label, Outcome, decide
from cascade.stages import Stage

if TYPE_CHECKING:
    from PIL import Image


PREDICT = "/v1/predict"


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


class Reply(BaseModel):
    """What the service answers to `PREDICT`: one result an image, in their order."""

    model_config = ConfigDict(frozen=True)
    release: str
    results: list[Answer]


class Cascade:
    """The stages of one release, loaded once; `answer` may be called from several threads."""

    def __init__(self, release: Release) -> None:
        from cascade.stages.classifier import ClassifierStage

        self.release = release
        self.classifier = ClassifierStage(release)
        self.stages: list[Stage] = [self.classifier]

    def load(self) -> Self:
        """Load and warm up every stage.

        Raises:
            EngineError: a model is unusable.
        """
        for stage in self.stages:
            stage.load()
        return self

    def close(self) -> None:
        """Unload every stage."""
        for stage in self.stages:
            stage.unload()

    def answer(self, images: Sequence[Image.Image]) -> list[Answer]:
        """Answer for upright RGB images, in their order; a stage sees only what those before it left undecided."""
        traces: list[list[Outcome]] = [[] for _ in images]
        for stage in self.stages:
            waiting = [index for index, trace in enumerate(traces) if not trace or trace[-1].outcome == "undecided"]
            if not waiting:
                break
            for index, seen in zip(waiting, stage.predict([images[index] for index in waiting]), strict=True):
                traces[index].append(seen)
        return [self._answer(trace, decide(trace)) for trace in traces]

    def _answer(self, trace: list[Outcome], decision: Decision) -> Answer:
        milliseconds = round(sum(seen.milliseconds for seen in trace), 3)
        return Answer(**decision.model_dump(), stages=trace, milliseconds=milliseconds, release=self.release.id)
