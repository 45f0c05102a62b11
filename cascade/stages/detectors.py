"""Stage 2: two detectors of different architecture, and the verdict where they agree."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from cascade.detection.agreement import EVIDENCE, AgreementRule, UnusableDetector, agree, evidence, match
from cascade.detection.boxes import Box
from cascade.engines.base import Kind, device_of
from cascade.engines.boxes import BoxEngine
from cascade.probability import Verdict, sigmoid
from cascade.process.memory import Meter
from cascade.stages.base import StageResult

if TYPE_CHECKING:
    from PIL import Image

SETTINGS_FILE = "detectors.json"
# a verdict must not contradict its own probability, which validators read with a cut at 0.5
MARGIN = 0.01
# boxes of one detector in a trace
SHOWN = 40


class EvidenceModel(BaseModel):
    """A logistic regression on EVIDENCE, shifted so that 0.5 is the MCC-optimal cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    weights: tuple[float, ...]
    bias: float

    @model_validator(mode="after")
    def _fits(self) -> EvidenceModel:
        if len(self.weights) != len(EVIDENCE):
            raise ValueError(f"{len(self.weights)} weights for the {len(EVIDENCE)} numbers of {', '.join(EVIDENCE)}")
        return self

    def __call__(self, first: Sequence[Box], second: Sequence[Box], rule: AgreementRule) -> float:
        """Give P(roadwork) from the boxes of the two detectors."""
        import numpy as np

        logit = float(evidence(first, second, rule) @ np.array(self.weights)) + self.bias
        return float(sigmoid(logit))


class DetectorsSettings(BaseModel):
    """`detectors.json`: which two detectors, how they agree, what runs them.

    Attributes:
        detectors: names of the two folders beside the file, in the order of the rule's thresholds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    detectors: tuple[str, str]
    rule: AgreementRule
    estimate: EvidenceModel
    engine: Kind
    threads: int = Field(ge=1)


@dataclass(frozen=True)
class DetectorsOutput:
    """Boxes of the two detectors, one list an image each, and the wall time of both together."""

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
        self.settings = read_detectors(folder)
        self.device = device_of(self.settings.engine)
        self.memory_bytes = 0
        self._engines: tuple[BoxEngine, BoxEngine] | None = None

    @property
    def precision(self) -> str | None:
        """What the loaded detectors compute in; None while none are loaded."""
        return " and ".join(dict.fromkeys(one.precision for one in self._engines)) if self._engines else None

    def load(self) -> None:
        """See `Stage.load`; raises UnusableDetector where a model is missing, broken or not of our classes."""
        from PIL import Image

        meter = Meter(self.device)
        first, second = (self._open(name) for name in self.settings.detectors)
        for engine in (first, second):
            # a card's memory is taken by the largest batch
            batch = 1 if self.device == "cpu" else engine.contract.max_batch
            engine.see([Image.new("RGB", (engine.contract.size, engine.contract.size))] * batch)
        self._engines = (first, second)
        self.memory_bytes = meter.taken()

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        """See `Stage.predict`.

        `probability` is that of the detectors alone, without the prior, since the router combines the stages. The
        verdict "clear" needs a low prior too: no box means little where stage 1 gives a high probability.
        """
        return self.results(self.detect(images), priors)

    def detect(self, images: Sequence[Image.Image]) -> DetectorsOutput:
        """Run both detectors, which takes nearly all of the stage's time.

        Raises:
            RuntimeError: not loaded.
        """
        if self._engines is None:
            raise RuntimeError("the detectors are not loaded; call load() first")
        start = time.perf_counter()
        first, second = (engine.see(images) for engine in self._engines)
        return DetectorsOutput(first, second, round((time.perf_counter() - start) * 1000, 3))

    def results(self, output: DetectorsOutput, priors: Sequence[float] | None = None) -> list[StageResult]:
        """Give one result an image from the boxes of both detectors and the priors; see `predict`."""
        known: list[float | None] = [None] * len(output.first) if priors is None else list(priors)
        return [
            self._result(first, second, prior, output)
            for first, second, prior in zip(output.first, output.second, known, strict=True)
        ]

    def unload(self) -> None:
        """See `Stage.unload`."""
        for engine in self._engines or ():
            engine.close()
        self._engines = None

    def _open(self, name: str) -> BoxEngine:
        return BoxEngine(self._folder / name, self.settings.engine, self.settings.threads)

    def _result(self, first: list[Box], second: list[Box], prior: float | None, output: DetectorsOutput) -> StageResult:
        rule = self.settings.rule
        verdict = agree(first, second, rule, prior)
        return StageResult(
            stage=self.name,
            probability=consistent(self.settings.estimate(first, second, rule), verdict),
            verdict=verdict,
            milliseconds=output.milliseconds,
            batch=len(output.first),
            detail=self._detail(first, second, verdict, prior),
        )

    def _detail(
        self, first: list[Box], second: list[Box], verdict: Verdict, prior: float | None
    ) -> dict[str, JsonValue]:
        rule = self.settings.rule
        shown = [[b for b in boxes if b.score >= low] for boxes, low in zip((first, second), rule.seen, strict=True)]
        pairs = match(shown[0], shown[1], rule.iou)
        matched = ({pair.first for pair in pairs}, {pair.second for pair in pairs})
        boxes: list[JsonValue] = [
            {"detector": name, **_json(box), "matched": index in matched[side]}
            for side, name in enumerate(self.settings.detectors)
            for index, box in enumerate(shown[side][:SHOWN])
        ]
        counts = Counter(shown[0][pair.first].category for pair in pairs)
        summary = {
            "roadwork": f"detectors agree on {len(pairs)} roadwork objects ({_listed(counts)})",
            "clear": f"detectors find no roadwork objects, and the estimate before them is {prior or 0.0:.2f}",
            "undecided": f"detectors agree on {len(pairs)} of the {rule.matches} roadwork objects needed",
        }[verdict]
        return {"boxes": boxes, "matches": len(pairs), "summary": summary}


def consistent(probability: float, verdict: Verdict) -> float:
    """Bring a probability to the side of 0.5 that the verdict is on."""
    if verdict == "roadwork":
        return max(probability, 0.5 + MARGIN)
    return min(probability, 0.5 - MARGIN) if verdict == "clear" else probability


def read_detectors(folder: Path) -> DetectorsSettings:
    """Read detectors.json.

    Raises:
        UnusableDetector: it is missing or does not fit.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        raise UnusableDetector(f"{path}: no such file; `dvc repro detect` writes it")
    try:
        return DetectorsSettings.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, ValueError) as error:
        raise UnusableDetector(f"{path}: does not fit: {error}") from None


def _listed(counts: Counter[str]) -> str:
    """The classes with their counts, most frequent first: cone 2, barrier 1."""
    return ", ".join(f"{category} {count}" for category, count in counts.most_common())


def _json(box: Box) -> dict[str, JsonValue]:
    return {
        "category": box.category,
        "score": round(box.score, 3),
        "corners": [round(value, 1) for value in box.corners],
    }
