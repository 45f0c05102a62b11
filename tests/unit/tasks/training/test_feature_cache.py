"""The cache of feature maps: computed once, kept over runs, and never half of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SHAPE = (2, 3, 3)


class Backbone:
    """Gives each asked position a map of its own, and counts."""

    def __init__(self) -> None:
        self.computed = 0

    def __call__(self, positions: list[int]) -> Any:
        import torch

        self.computed += len(positions)
        return torch.stack([torch.full(SHAPE, 10.0 + position, dtype=torch.bfloat16) for position in positions])


def cache(folder: Path) -> Any:
    from tasks.training.feature_cache import FeatureCache

    return FeatureCache(folder, pictures=4, draws=2, shape=SHAPE)


def test_a_row_is_computed_once(tmp_path: Path) -> None:
    backbone = Backbone()
    first = cache(tmp_path).get([(0, 0), (3, 1)], backbone)
    again = cache(tmp_path).get([(3, 1), (0, 0), (1, 0)], backbone)
    assert backbone.computed == 3
    assert again[0].equal(first[1])
    assert again[1].equal(first[0])


@pytest.mark.parametrize("name", ["rows.bin", "there.bin"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_what_is_damaged_is_computed_again(tmp_path: Path, name: str, damage: str) -> None:
    first = cache(tmp_path).get([(0, 0), (1, 1)], Backbone())
    if damage == "gone":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1])
    backbone = Backbone()
    assert cache(tmp_path).get([(0, 0), (1, 1)], backbone).equal(first)
    assert backbone.computed == 2
