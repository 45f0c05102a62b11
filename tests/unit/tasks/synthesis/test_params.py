"""What section `synthesize` refuses, and that it knows what the renderer makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.config.synthesize import RENDERED, TAKEN_SEEDS
from tasks.data.schema import SPLITS, read_records, split_file
from tests.support.synthesis import params

SAMPLE = Path("data/sample")
PINNED = {"engine": "sdxl", "sdxl__revision": "a" * 40}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # weights that could change under us
        ({"engine": "sdxl"}, r"sdxl\.revision"),
        # a branch is no revision
        ({"engine": "sdxl", "sdxl__revision": "main"}, "pattern"),
        # Lightning's own file is pinned as well
        (PINNED | {"sdxl__variant": "lightning", "sdxl__guidance": 0}, "lightning_revision"),
        # a licence that forbids what miners do
        (PINNED | {"sdxl__variant": "turbo", "sdxl__guidance": 0}, "sai-nc-community"),
        # distilled models go wrong with guidance
        (PINNED | {"sdxl__variant": "turbo", "sdxl__allow_noncommercial": True}, "guidance: 0"),
        # no step left after strength
        (PINNED | {"sdxl__steps": 1}, "no step"),
        # nothing to make
        ({"num_positive": 0, "num_negative": 0}, "both 0"),
        # the sample's places would come again
        ({"seed": TAKEN_SEEDS[0]}, "trained on already; take none of 7, 8, 9, 21, 22, 23, 24, 25"),
        # a slice that no column has, a value that nobody makes, a slice without values
        ({"slices": {"moon": ["full"]}}, "moon"),
        ({"slices": {"weather": ["snow"]}}, "snow"),
        ({"slices": {"time": []}}, "no value"),
        (PINNED | {"slices": {"works": ["cranes"]}}, "cranes"),
        # misspelt
        ({"render__sample": 3}, "sample"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        params(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        # pinned, or a folder of one's own
        PINNED,
        {"engine": "sdxl", "sdxl__folder": "weights"},
        # diffusion can do what the renderer cannot
        PINNED | {"slices": {"weather": ["snow"], "works": ["cones"]}},
        # diffusion may have the sample's seeds
        PINNED | {"seed": TAKEN_SEEDS[0]},
        PINNED | {"sdxl__variant": "turbo", "sdxl__guidance": 0, "sdxl__allow_noncommercial": True},
    ],
)
def test_accepted(changes: dict[str, Any]) -> None:
    assert params(**changes)


def test_validators_settings_are_the_default() -> None:
    """Domain facts, section 1: base 1.0, 25 steps, guidance 8, strength 0.7."""
    sdxl = params().sdxl
    assert (sdxl.variant, sdxl.steps, sdxl.guidance, sdxl.strength) == ("base", 25, 8.0, 0.7)


def test_rendered_slices_are_those_of_the_committed_sample() -> None:
    found: dict[str, set[str]] = {name: set() for name in RENDERED}
    seeds = set()
    for split in SPLITS:
        for row in read_records(split_file(SAMPLE, split), columns=[*RENDERED, "place"]):
            seeds.add(int(row["place"].split("-")[1]))
            for name, values in found.items():
                values.add(row[name])
    assert found == RENDERED
    assert seeds <= set(TAKEN_SEEDS)
