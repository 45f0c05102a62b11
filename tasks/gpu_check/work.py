"""What a check is given, and what it gives back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.config import Params

Role = Literal["serve", "train", "make"]
PHASE, RESULT, LOG = "phase.json", "result.json", "log.txt"


class Figures(BaseModel):
    """What a check has measured.

    Attributes:
        precision: of the weights, or of autocast.
        million_parameters: of the model.
        load_seconds: to build it, with random weights, and to put it on the device.
        ms: milliseconds a call by pictures a call: host to device, model, answer on the host.
        graph_ms: the same as a CUDA graph; empty where none was captured.
        longest_ms: one picture whose answer has the most tokens that the stage allows.
        step_ms: milliseconds a training step.
        step_pictures: pictures a training step.
        peak_gib: most that the process took, as the driver counts (main memory on a processor).
        left_gib: what the process still takes after its model was closed.
        note: what people should know of these figures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: str
    million_parameters: float
    load_seconds: float
    ms: dict[int, float] = {}
    graph_ms: dict[int, float] = {}
    longest_ms: float | None = None
    step_ms: float | None = None
    step_pictures: int | None = None
    peak_gib: float
    left_gib: float | None = None
    note: str = ""

    @property
    def best(self) -> dict[int, float]:
        """The quicker of both ways, by pictures a call."""
        return {batch: min(ms, self.graph_ms.get(batch, ms)) for batch, ms in self.ms.items()}


class CheckFailedError(RuntimeError):
    """A model does not do what it should; the message says what."""


@dataclass(frozen=True)
class Work:
    """What a check works with.

    Attributes:
        params: of the profile.
        device: cuda or cpu.
        tiny: small configurations of the same classes.
        folder: of the check's own, on disk; removed afterwards.
    """

    params: Params
    device: Literal["cuda", "cpu"]
    tiny: bool
    folder: Path

    def phase(self, words: str) -> None:
        """Say what comes next, for the row of a check that does not come to its end."""
        (self.folder / PHASE).write_text(json.dumps(words), encoding="utf-8")


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: for people.
        model: what it builds, for people.
        run: `module:function`, imported in the check's own process alone; it takes a `Work` and gives `Figures`.
        role: what the model is for; those that serve share the card.
        libraries: modules that it imports, beyond torch.
        seconds: its limit.
    """

    name: str
    model: str
    run: str
    role: Role
    libraries: tuple[str, ...]
    seconds: float
