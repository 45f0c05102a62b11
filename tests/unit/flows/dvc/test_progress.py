"""What a stage prints, read as a share of its work."""

from __future__ import annotations

import pytest

from flows.dvc.progress import percent


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # bars of tqdm
        ("train:  45%|####5     | 90/200 [00:10<00:12,  9.0it/s]", 45.0),
        ("100%|##########| 3/3", 100.0),
        # counts of our own steps
        ("step 120/2000, loss 0.31", 6.0),
        ("place 3 of 12: night", 25.0),
        ("Epoch 2/4", 50.0),
        # beyond the end, as a resumed count may be
        ("step 5/4", 100.0),
        # nothing to count
        ("step 0/0", None),
        # other numbers
        ("accuracy 45% of 200", None),
        ("2026-12-01 07:00:00 started", None),
        ("", None),
    ],
)
def test_percent(line: str, expected: float | None) -> None:
    assert percent(line) == expected
