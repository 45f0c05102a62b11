"""Trainings that are stopped on their way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tasks.training import loop


@contextmanager
def stopped_after(steps: int) -> Iterator[None]:
    """Every training within is stopped after so many steps, each with its checkpoint; nothing else may stop it."""
    real, done = loop._step, 0

    def step(*given: Any) -> float:
        nonlocal done
        if done == steps:
            raise KeyboardInterrupt
        done += 1
        return float(real(*given))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "SAVE_EVERY", 1)
        patch.setattr(loop, "_step", step)
        with pytest.raises(KeyboardInterrupt):
            yield
