"""The contract of a stage: it is loaded, predicts a batch, and is unloaded; each image gets a `StageResult`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from cascade.release.manifest import Exits

if TYPE_CHECKING:
    from PIL import Image

Verdict = Literal["roadwork", "clear", "undecided"]


class StageResult(BaseModel):
    """What one stage saw in one image.

    Attributes:
        stage: its name.
        probability: of roadwork, calibrated, 0 to 1; None where the stage has no opinion.
        exits: the thresholds that `probability` was held against; None for a stage that decides otherwise.
        verdict: whether the image leaves the cascade here, and as what.
        milliseconds: wall time of the batch that the image went through the stage in.
        detail: what the stage saw, as JSON: boxes, words, raw log-probabilities.
        skipped: why the stage did not look or gave no opinion, for people; None where it did.
    """

    model_config = ConfigDict(frozen=True)
    stage: str
    probability: float | None = Field(default=None, ge=0, le=1)
    exits: Exits | None = None
    verdict: Verdict
    milliseconds: float = Field(ge=0)
    detail: dict[str, JsonValue] = {}
    skipped: str | None = None

    @model_validator(mode="after")
    def _skipped_is_undecided(self) -> StageResult:
        if self.skipped is not None and (self.verdict != "undecided" or self.probability is not None):
            raise ValueError(f"the {self.stage} was skipped, so it has neither verdict nor probability")
        return self


def skipped_result(stage: str, why: str, milliseconds: float = 0.0) -> StageResult:
    """What stands in the trace for a stage that was switched off, failed, or ran out of time or memory."""
    return StageResult(stage=stage, verdict="undecided", milliseconds=milliseconds, skipped=why)


def verdict_of(probability: float, exits: Exits) -> Verdict:
    """Say whether a probability is sure enough to leave the cascade; both exits are inclusive."""
    if probability <= exits.low:
        return "clear"
    return "roadwork" if probability >= exits.high else "undecided"


class Stage(Protocol):
    """One stage. `predict` may be called from several threads at once.

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
        """Look at upright RGB images and give one outcome each, in their order.

        Args:
            images: upright RGB, any size.
            priors: the best estimate of the stages before, one an image, 0.5 where none has an opinion; None where no
                stage came before.

        Raises:
            Exception: whatever it is, the cascade goes on without this stage and says so in the trace.
        """
        ...

    def unload(self) -> None:
        """Give the memory back."""
        ...
