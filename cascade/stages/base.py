"""The contract of a stage: it is loaded, predicts a batch, and is unloaded; each image gets a `StageResult`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from cascade.probability import Verdict
from cascade.release.manifest import Exits

if TYPE_CHECKING:
    from PIL import Image

    from cascade.vlm.base import Clip

SkipCause = Literal[
    "off",  # switched off: `streetvision status` says why
    "missing",  # its files or libraries are not there or cannot be used; the log names them
    "failed",  # it could not be loaded, or broke on the image; the log says how
    "memory",  # it does not fit beside what is loaded
    "timeout",  # no answer within its own limit, section `timeouts`
    "busy",  # earlier calls have not come back, so this one was not begun
    "deadline",  # the time for the whole answer was up, `serve.deadline_seconds`
    "malformed",  # the VLM said neither yes nor no
]


def _enlarged(value: JsonValue, factor: int) -> JsonValue:
    """A box or line with its corners multiplied; anything else as it is."""
    if not isinstance(value, dict):
        return value
    places = {key: corners for key in ("corners", "box") if isinstance(corners := value.get(key), list)}
    return value | {
        key: [one * factor if isinstance(one, int | float) else one for one in corners]
        for key, corners in places.items()
    }


class StageResult(BaseModel):
    """What one stage found in one image.

    Attributes:
        stage: its name.
        probability: of roadwork, calibrated, 0 to 1; None where the stage gives no estimate.
        exits: the thresholds that `probability` was held against; None for a stage that decides otherwise.
        verdict: whether the image leaves the cascade here, and as what.
        milliseconds: wall time of the batch that the image went through the stage in.
        batch: how many images went through together, so that an image cost `milliseconds / batch`.
        detail: what the stage saw, as JSON: boxes, words, raw log-probabilities; `summary` is a sentence for people.
        skipped: why the stage gave no result, in a word; None where it did.
    """

    model_config = ConfigDict(frozen=True)
    stage: str
    probability: float | None = Field(default=None, ge=0, le=1)
    exits: Exits | None = None
    verdict: Verdict
    milliseconds: float = Field(ge=0)
    batch: int = Field(default=1, ge=1)
    detail: dict[str, JsonValue] = {}
    skipped: SkipCause | None = None

    def enlarged(self, factor: int) -> StageResult:
        """Multiply the corners of boxes and lines, for a picture that was decoded `factor` times smaller."""
        detail = {
            key: [_enlarged(one, factor) for one in value] if isinstance(value, list) else value
            for key, value in self.detail.items()
        }
        return self.model_copy(update={"detail": detail})

    @model_validator(mode="after")
    def _skipped_is_undecided(self) -> StageResult:
        if self.skipped is not None and (self.verdict != "undecided" or self.probability is not None):
            raise ValueError(f"the {self.stage} was skipped, so it has neither verdict nor probability")
        return self


def skipped_result(
    stage: str,
    cause: SkipCause,
    milliseconds: float = 0.0,
    detail: dict[str, JsonValue] | None = None,
    *,
    batch: int = 1,
) -> StageResult:
    """Give the result of a stage that was skipped, as it stands in the trace."""
    return StageResult(
        stage=stage, verdict="undecided", milliseconds=milliseconds, batch=batch, detail=detail or {}, skipped=cause
    )


def verdict_of(probability: float, exits: Exits) -> Verdict:
    """Say whether a probability is sure enough to leave the cascade; both exits are inclusive."""
    if probability <= exits.low:
        return "clear"
    return "roadwork" if probability >= exits.high else "undecided"


def runs_on(stage: Stage) -> str:
    """The device that a stage computes on: as it was measured where it says so, else the one that it is set to."""
    return str(getattr(stage, "runs_on", getattr(stage, "device", "cpu")))


class Stage(Protocol):
    """One stage. `predict` may be called from several threads at once.

    Some have more: `device`, whose memory it takes, RAM by default; `runs_on`, where it computes, if that is measured;
    `precision`, what it computes in; `lanes`, how many batches it takes at a time, one by default.

    Attributes:
        name: in traces, params and the release's settings.
        memory_bytes: what loading took, measured; before `load` an estimate, or 0 where there is none.
    """

    name: str
    memory_bytes: int

    def load(self) -> None:
        """Load and warm up; afterwards `memory_bytes` is what that took, as measured."""
        ...

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        """Give one result an image, in their order.

        Args:
            images: upright RGB, any size.
            priors: the best estimate of the stages before, one an image, 0.5 where none gave one; None where no stage
                came before.

        Raises:
            Exception: whatever it is, the cascade goes on without this stage and says so in the trace.
        """
        ...

    def unload(self) -> None:
        """Give the memory back."""
        ...


@runtime_checkable
class ClipStage(Stage, Protocol):
    """A stage that also takes clips as a whole."""

    def predict_clips(self, clips: Sequence[Clip]) -> list[StageResult]:
        """Give one result a clip; skipped where the stage has no model for clips."""
        ...


@runtime_checkable
class ClosableStage(Protocol):
    """A stage that holds more than memory: a server of its own."""

    def close(self) -> None:
        """End it for good."""
        ...
