"""Trainings that are stopped on their way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tasks.training import resumable
from tasks.training.loop import Trainer


@contextmanager
def stopped_after(steps: int) -> Iterator[None]:
    """Every training within is stopped after so many steps, each with its checkpoint; nothing else may stop it."""
    real, done = Trainer._step, 0

    def step(*given: Any) -> None:
        nonlocal done
        if done == steps:
            raise KeyboardInterrupt
        done += 1
        real(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resumable, "SAVE_EVERY", 1)
        patch.setattr(Trainer, "_step", step)
        with pytest.raises(KeyboardInterrupt):
            yield
