"""The VLM: a vision-language model that answers one question with yes or no, and with a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from PIL import Image

Kind = Literal["answered", "malformed", "timeout", "failed", "off"]


class VlmError(RuntimeError):
    """The VLM cannot be used as it is set up; the message names the file, key or server, and what to do."""


@dataclass(frozen=True)
class Clip:
    """Frames of one clip, upright RGB, in their order; `frames_per_second` is the rate at which they were sampled."""

    frames: tuple[Image.Image, ...]
    frames_per_second: float


@dataclass(frozen=True)
class VlmAnswer:
    """What the model said of one picture or clip.

    Attributes:
        kind: answered, or why not: malformed (it said neither yes nor no), timeout, failed, off.
        logit: log P(yes) - log P(no) at the answer's token, not calibrated; None where it abstained.
        mass: P(yes) + P(no) there, 0 to 1: how much the model kept to the question.
        said: the beginning of its text, for the trace.
        why: for people, where it abstained.
    """

    kind: Kind
    logit: float | None = None
    mass: float = 0.0
    said: str = ""
    why: str | None = None


class VlmBackend(Protocol):
    """One backend. `run` may be called from several threads at once; no answer of a model makes it raise."""

    memory_bytes: int

    def load(self) -> None:
        """Load or start the model, or wake it; raises VlmError with what to do."""
        ...

    def run(self, items: Sequence[Image.Image | Clip]) -> list[VlmAnswer]:
        """Give one answer a picture or clip, in their order, within the time limit."""
        ...

    def rest(self) -> None:
        """Give the memory back in a way that `load` undoes quickly, where there is one; otherwise as `close`."""
        ...

    def close(self) -> None:
        """Give everything back; a server's processes are gone when this returns."""
        ...


class DisabledVlm:
    """The backend that is switched off: it abstains."""

    memory_bytes = 0

    def load(self) -> None:
        """See `VlmBackend.load`."""

    def run(self, items: Sequence[Image.Image | Clip]) -> list[VlmAnswer]:
        """See `VlmBackend.run`."""
        return [VlmAnswer("off", why="the VLM is switched off (vlm.backend)") for _ in items]

    def rest(self) -> None:
        """See `VlmBackend.rest`."""

    def close(self) -> None:
        """See `VlmBackend.close`."""
