"""How far a stage is, as a progress artifact of its task: read from what it prints."""

from __future__ import annotations

import re
import time
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.dvc.artifacts import artifact_key

# a bar of tqdm, or `step 120/2000` and `place 3 of 12` of our own steps
BAR = re.compile(r"\b(\d{1,3})%\|")
COUNT = re.compile(r"\b(?:step|epoch|place|picture|batch|image|shard)s?\s+(\d+)\s*(?:/|of)\s*(\d+)\b", re.IGNORECASE)
# of a stage that prints nothing of its end for so long; a short one needs no bar
FIRST_SECONDS = 10.0
REPEAT_SECONDS = 5.0


def percent(line: str) -> float | None:
    """How much of a stage is done, by one line of its output; None where the line does not say."""
    if bar := BAR.search(line):
        return min(float(bar[1]), 100.0)
    if (count := COUNT.search(line)) and int(count[2]):
        return min(100.0 * int(count[1]) / int(count[2]), 100.0)
    return None


class Progress:
    """The progress artifact of one stage: made once the stage takes long, and brought up to date from time to time."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._artifact: UUID | None = None
        self._next = time.monotonic() + FIRST_SECONDS

    def see(self, line: str) -> None:
        """Look at a line of the stage's output."""
        done = percent(line)
        if done is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REPEAT_SECONDS
        self._show(done)

    def finish(self) -> None:
        """Say that the stage is done, where there is a bar."""
        if self._artifact is not None:
            self._show(100.0)

    def _show(self, done: float) -> None:
        if self._artifact is None:
            made = create_progress_artifact(
                progress=done, key=artifact_key(self._stage, "progress"), description=f"{self._stage}: what it prints"
            )
            self._artifact = UUID(str(made))
        else:
            update_progress_artifact(self._artifact, progress=done)
