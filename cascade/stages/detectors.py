"""Stage 2: two detectors of different make, and what it means when they agree."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from cascade.detection.agreement import EVIDENCE, AgreementRule, UnusableDetector, agree, evidence, match
from cascade.detection.boxes import Box
from cascade.engines.boxes import BoxEngine
from cascade.probability import sigmoid
from cascade.process.memory import resident_bytes
from cascade.stages.base import StageResult, Verdict

if TYPE_CHECKING:
    from PIL import Image

SETTINGS_FILE = "detectors.json"
# a verdict must not contradict its own probability: the cut at 0.5 is how validators read an answer
MARGIN = 0.01
SHOWN = 40


class Estimate(BaseModel):
    """A logistic regression on EVIDENCE, shifted so that 0.5 is the MCC-optimal cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    weights: tuple[float, ...]
    bias: float

    @model_validator(mode="after")
    def _fits(self) -> Estimate:
        if len(self.weights) != len(EVIDENCE):
            raise ValueError(f"{len(self.weights)} weights for the {len(EVIDENCE)} numbers of {', '.join(EVIDENCE)}")
        return self

    def __call__(self, first: Sequence[Box], second: Sequence[Box], rule: AgreementRule) -> float:
        """P(roadwork) from what the two detectors saw."""
        import numpy as np

        logit = float(evidence(first, second, rule) @ np.array(self.weights)) + self.bias
        return float(sigmoid(logit))


class Settings(BaseModel):
    """`detectors.json`: which two detectors, how they agree, what runs them.

    Attributes:
        detectors: names of the two folders beside the file, in the order of the rule's thresholds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    detectors: tuple[str, str]
    rule: AgreementRule
    estimate: Estimate
    engine: Literal["openvino", "onnxruntime", "tensorrt"]
    threads: int = Field(ge=1)


@dataclass(frozen=True)
class DetectorsOutput:
    """What the two detectors saw, a list of boxes a picture, and how long they looked."""

    first: list[list[Box]]
    second: list[list[Box]]
    milliseconds: float


class DetectorsStage:
    """Stage 2 of a release.

    Args:
        folder: models/detectors, or a release's copy: detectors.json and a folder a detector.

    Raises:
        UnusableDetector: detectors.json is missing or unusable.
    """

    name = "detectors"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.settings = read_settings(folder)
        self.memory_bytes = 0
        self._engines: tuple[BoxEngine, BoxEngine] | None = None

    def load(self) -> None:
        """See `Stage.load`; raises UnusableDetector where a model is missing, broken or not of our classes."""
        from PIL import Image

        before = resident_bytes()
        first, second = (self._open(name) for name in self.settings.detectors)
        for engine in (first, second):
            engine.see([Image.new("RGB", (engine.contract.size, engine.contract.size))])
        self._engines = (first, second)
        self.memory_bytes = max(0, resident_bytes() - before)

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        """See `Stage.predict`.

        `probability` is the detectors' own, without the prior: the router weighs it against the other stages'. The
        prior is needed for "clear": that nothing is seen means little where stage 1 sees something.
        """
        return self.conclude(self.see(images), priors)

    def see(self, images: Sequence[Image.Image]) -> DetectorsOutput:
        """Let both detectors look; that takes all the time."""
        if self._engines is None:
            raise RuntimeError("the detectors are not loaded; call load() first")
        start = time.perf_counter()
        first, second = (engine.see(images) for engine in self._engines)
        return DetectorsOutput(first, second, round((time.perf_counter() - start) * 1000, 3))

    def conclude(self, seen: DetectorsOutput, priors: Sequence[float] | None = None) -> list[StageResult]:
        """What follows from a look, given stage 1's probabilities; see `predict`."""
        known: list[float | None] = [None] * len(seen.first) if priors is None else list(priors)
        return [
            self._result(one, two, prior, seen.milliseconds)
            for one, two, prior in zip(seen.first, seen.second, known, strict=True)
        ]

    def unload(self) -> None:
        """See `Stage.unload`."""
        self._engines = None

    def _open(self, name: str) -> BoxEngine:
        return BoxEngine(self._folder / name, self.settings.engine, self.settings.threads)

    def _result(self, first: list[Box], second: list[Box], prior: float | None, milliseconds: float) -> StageResult:
        rule = self.settings.rule
        verdict = agree(first, second, rule, prior)
        return StageResult(
            stage=self.name,
            probability=consistent(self.settings.estimate(first, second, rule), verdict),
            verdict=verdict,
            milliseconds=milliseconds,
            detail=self._detail(first, second, verdict, prior),
        )

    def _detail(
        self, first: list[Box], second: list[Box], verdict: Verdict, prior: float | None
    ) -> dict[str, JsonValue]:
        rule, names = self.settings.rule, self.settings.detectors
        sure = [[b for b in boxes if b.score >= low] for boxes, low in zip((first, second), rule.seen, strict=True)]
        pairs = match(sure[0], sure[1], rule.iou)
        boxes: list[JsonValue] = [
            {"detector": name, **_json(box), "matched": index in {(pair.first, pair.second)[side] for pair in pairs}}
            for side, name in enumerate(names)
            for index, box in enumerate(sure[side][:SHOWN])
        ]
        common = ", ".join(sure[0][pair.first].category for pair in pairs)
        why = {
            "roadwork": f"{names[0]} and {names[1]} both see {len(pairs)} objects in the same places ({common})",
            "clear": f"neither {names[0]} nor {names[1]} sees anything, and the stage before gives {prior or 0.0:.2f}",
            "undecided": f"{names[0]} and {names[1]} share {len(pairs)} of the {rule.matches} objects that it takes",
        }[verdict]
        return {"boxes": boxes, "matches": len(pairs), "why": why}


def consistent(probability: float, verdict: Verdict) -> float:
    """Bring a probability to the side of 0.5 that the verdict is on."""
    if verdict == "roadwork":
        return max(probability, 0.5 + MARGIN)
    return min(probability, 0.5 - MARGIN) if verdict == "clear" else probability


def read_settings(folder: Path) -> Settings:
    """Read detectors.json.

    Raises:
        UnusableDetector: it is missing or does not fit.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        raise UnusableDetector(f"{path}: no such file; `dvc repro detect` writes it")
    try:
        return Settings.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, ValueError) as error:
        raise UnusableDetector(f"{path}: does not fit: {error}") from None


def _json(box: Box) -> dict[str, JsonValue]:
    return {
        "category": box.category,
        "score": round(box.score, 3),
        "corners": [round(value, 1) for value in box.corners],
    }
