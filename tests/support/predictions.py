"""Predictions with the details of all four stages, as the runtime gives them."""

from __future__ import annotations

from typing import Any

from cascade.core.cascade import Prediction
from cascade.core.router import decide
from cascade.release.manifest import Exits
from cascade.stages.base import StageResult, skipped_result
from cascade.video.clip import ClipPrediction, FrameScore

EXITS = Exits(high=0.88, low=0.12)


def box(corners: tuple[float, float, float, float], detector: str = "yolo", *, matched: bool = True) -> dict[str, Any]:
    """A box of a detector as it stands in a trace."""
    return {"detector": detector, "category": "cone", "score": 0.8, "corners": list(corners), "matched": matched}


def prediction(
    boxes: list[dict[str, Any]] | None = None, lines: list[dict[str, Any]] | None = None, p: float = 0.95
) -> Prediction:
    """A prediction of a trace whose last stage decided: the classifier and the VLM were not sure."""
    summary = "detectors agree on 1 of the 3 roadwork objects needed"
    detail: dict[str, Any] = {"boxes": boxes or [], "matches": 1, "summary": summary}
    trace = [
        StageResult(stage="classifier", probability=0.5, exits=EXITS, verdict="undecided", milliseconds=24),
        StageResult(stage="detectors", probability=0.6, verdict="undecided", milliseconds=70, detail=detail),
        skipped_result("vlm", "timeout", 4000),
        StageResult(
            stage="ocr",
            probability=p,
            verdict="roadwork" if p > 0.5 else "undecided",
            milliseconds=94,
            detail={"lines": lines or [], "keywords": [], "summary": "ocr reads 2 roadwork keywords (detour, ahead)"},
        ),
    ]
    return Prediction(**decide(trace).model_dump(), stages=trace, milliseconds=4188, release="a" * 12)


def clip_prediction(pooled: list[float], telling: int) -> ClipPrediction:
    """A clip whose frames lie half a second apart; `telling` is the one that stands for it."""
    timeline = [
        FrameScore(seconds=index / 2, probability=p, pooled=p, decided_by="classifier")
        for index, p in enumerate(pooled)
    ]
    return ClipPrediction.model_validate(
        {
            "probability": pooled[telling],
            "label": "roadwork" if pooled[telling] > 0.5 else "clear",
            "decided_by": "ocr",
            "reason": "50% of the frames show roadwork",
            "frame": prediction(),
            "frame_seconds": telling / 2,
            "timeline": timeline,
            "frames": {"expected": len(pooled), "decoded": len(pooled), "damaged": 0},
            "complete": True,
            "seconds": len(pooled) / 2,
            "milliseconds": 900.0,
            "release": "a" * 12,
        }
    )
