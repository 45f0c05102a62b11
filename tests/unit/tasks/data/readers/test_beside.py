"""Sources beside the main one: their names, their places, and the splits that they may hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.config import load_params
from tasks.config.data import FurtherSource, PullParams
from tasks.data.readers import Rejected
from tasks.data.readers.beside import place_rows
from tasks.data.readers.source import read_path
from tasks.data.schema import ImageRow
from tests.support.drawn import encode, street
from tests.support.paths import ROOT

CAMERAS = ("minsk", "gtsdb")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 pictures of 24 drives by two cameras, both labels on every drive; one file is missing."""
    folder = tmp_path_factory.mktemp("photos")
    lines = ["file,label,group,source"]
    for number in range(48):
        (folder / f"{number}.jpg").write_bytes(encode(street(number)[0]))
        lines.append(f"{number}.jpg,{number % 2},drive{number // 2},{CAMERAS[number // 24]}")
    (folder / "manifest.csv").write_text("\n".join([*lines, "gone.jpg,1,drive0,minsk"]), encoding="utf-8")
    return folder


def rows(photos: Path, **settings: Any) -> list[ImageRow | Rejected]:
    return list(place_rows(read_path(photos), FurtherSource(name="mine", path=photos, **settings)))


def splits(found: list[ImageRow | Rejected], source: str = "") -> set[str]:
    return {row.split for row in found if isinstance(row, ImageRow) and row.source.endswith(source)}


@pytest.mark.parametrize(
    ("settings", "minsk", "gtsdb"),
    [
        # shared out by place; the pool is for pictures whose label nobody knows
        ({}, {"train", "calibration", "challenge"}, {"train", "calibration", "challenge"}),
        ({"holds": "train"}, {"train"}, {"train"}),
        ({"holds": "evaluate"}, {"calibration", "challenge"}, {"calibration", "challenge"}),
        # a whole camera is kept for measuring
        ({"held_out": ["gtsdb"]}, {"train", "calibration", "challenge"}, {"calibration", "challenge"}),
        ({"holds": "train", "held_out": ["gtsdb"]}, {"train"}, {"calibration", "challenge"}),
    ],
)
def test_splits(photos: Path, settings: dict[str, Any], minsk: set[str], gtsdb: set[str]) -> None:
    found = rows(photos, **settings)
    assert (splits(found, "minsk"), splits(found, "gtsdb")) == (minsk, gtsdb)


def test_a_place_has_one_split_and_bears_the_name_of_its_source(photos: Path) -> None:
    found = [row for row in rows(photos) if isinstance(row, ImageRow)]
    assert Counter(row.source for row in found) == {"mine/minsk": 24, "mine/gtsdb": 24}
    homes = {(row.place, row.split) for row in found}
    assert len(homes) == len({place for place, _ in homes}) == 24
    assert all(place.startswith("mine:drive") for place, _ in homes)


def test_what_cannot_be_used_is_passed_on(photos: Path) -> None:
    assert [row.reason for row in rows(photos) if isinstance(row, Rejected)] == ["missing"]


def test_a_row_without_a_source_bears_the_name_alone(photos: Path) -> None:
    row = ImageRow(b"", "a", 1, "0" * 64, place="p", split="pool")
    (placed,) = place_rows([row], FurtherSource(name="mine", path=photos))
    assert isinstance(placed, ImageRow)
    assert (placed.source, placed.split) == ("mine", "train")


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        # two of one name could not be told apart in reports
        ([{"name": "a", "path": "x"}, {"name": "a", "path": "y"}], "'a' is taken"),
        # what our own rows are called
        ([{"name": "rendered", "path": "x"}], "'rendered' is taken"),
        # a slash parts the name from a source's own
        ([{"name": "a/b", "path": "x"}], "name"),
        ([{"name": "a"}], "needs a path"),
        ([{"name": "a", "path": "x", "holds": "some"}], "holds"),
        ([{"name": "a", "path": "x", "weight": 0}], "weight"),
        ([{"name": "a", "path": "x", "share": 1}], "share"),
    ],
)
def test_what_does_not_fit_is_refused(beside: list[dict[str, Any]], message: str) -> None:
    known = load_params(ROOT / "params.yaml").pull.model_dump()
    with pytest.raises(ValidationError, match=message):
        PullParams.model_validate(known | {"beside": beside})
