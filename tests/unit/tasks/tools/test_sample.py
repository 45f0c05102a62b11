"""The committed sample keeps what docs/label-rule.md and the schema promise; packing depends on the renders alone."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tasks.data.schema import SPLITS, read_records, split_file
from tasks.synthesis.rendered import MIN_SHARE, describe, rendered
from tasks.tools.sample import assign, pack

SAMPLE = Path("data/sample")
CLASSES = {"cone", "drum", "barrier", "sign", "arrow_board", "worker", "vehicle"}


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict]]:
    return {split: list(read_records(split_file(SAMPLE, split))) for split in SPLITS}


def test_sizes(rows: dict[str, list[dict]]) -> None:
    counts = {split: len(found) for split, found in rows.items()}
    assert sum(counts.values()) >= 900
    assert counts["train"] >= 500
    assert counts["challenge"] >= 150
    assert sum(split_file(SAMPLE, split).stat().st_size for split in SPLITS) <= 25_000_000


def test_every_picture_decodes_and_boxes_lie_inside(rows: dict[str, list[dict]]) -> None:
    for row in (row for found in rows.values() for row in found):
        image = Image.open(io.BytesIO(row["image"]["bytes"]))
        image.load()
        assert image.width >= 400
        assert image.height >= 300
        for item in row["objects"]:
            x, y, w, h = item["bbox"]
            assert item["category"] in CLASSES
            assert 0 <= x < x + w <= image.width
            assert 0 <= y < y + h <= image.height


def test_objects_and_descriptions_follow_the_label(rows: dict[str, list[dict]]) -> None:
    for row in (row for found in rows.values() for row in found):
        assert bool(row["objects"]) == bool(row["scene_description"]) == (row["label"] == 1)


def test_no_place_is_in_two_splits(rows: dict[str, list[dict]]) -> None:
    places = [{row["place"] for row in found} for found in rows.values()]
    assert sum(map(len, places)) == len(set.union(*places))


@pytest.mark.parametrize("name", ["time", "weather", "road", "region"])
def test_every_slice_holds_both_labels_in_train_and_challenge(rows: dict[str, list[dict]], name: str) -> None:
    for split in ("train", "challenge"):
        values = Counter((row[name], row["label"]) for row in rows[split])
        assert {label for _, label in values} == {0, 1}
        assert all((value, 1 - label) in values for value, label in values), values


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        # a clear picture has no description, as in NATIX's data
        ({"label": 0}, ""),
        # the commonest class comes first
        (
            {
                "label": 1,
                "objects": [{"category": "sign"}, {"category": "cone"}, {"category": "cone"}],
                "road": "city",
                "time": "low_sun",
                "weather": "wet",
            },
            "Roadworks with traffic cones, a roadwork sign on a city road, low sun, wet.",
        ),
    ],
)
def test_describe(facts: dict, text: str) -> None:
    assert describe(facts) == text


def test_assign_spreads_every_kind_over_the_splits_and_ignores_order() -> None:
    kinds = {f"rendered-7-{i}": (road, "us") for i, road in enumerate(["city", "rural"] * 20)}
    found = assign(kinds)
    assert found == assign(dict(reversed(kinds.items())))
    for road in ("city", "rural"):
        assert {found[place] for place, kind in kinds.items() if kind[0] == road} == set(SPLITS)


def test_later_seeds_move_no_place_and_stay_out_of_the_challenge_set() -> None:
    first = {f"rendered-{seed}-{i}": ("city", "us") for seed in (7, 8) for i in range(20)}
    later = {f"rendered-9-{i}": ("city", "us") for i in range(40)}
    found = assign(first | later)
    assert {place: found[place] for place in first} == assign(first)
    assert {found[place] for place in later} == {"train", "calibration", "pool"}


def test_works_too_small_to_see_are_left_out(tmp_path: Path) -> None:
    for number, share in enumerate([MIN_SHARE / 2, MIN_SHARE * 2, 0.0]):
        label = int(share > 0)
        picture = tmp_path / f"p7_{number:04d}_0.jpg"
        Image.new("RGB", (400, 300), (number, 0, 0)).save(picture)
        box = {"category": "cone", "bbox": [1, 2, 30, 40]}
        facts = {
            "label": label,
            "share": share,
            "objects": [box] * label,
            "place": f"rendered-7-{number}",
            "road": "city",
        }
        facts |= {"region": "us", "time": "noon", "weather": "clear", "distance": "near" if label else "none"}
        picture.with_suffix(".json").write_text(json.dumps(facts))
    assert [picture.name for picture, _ in rendered(tmp_path)] == ["p7_0001_0.jpg", "p7_0002_0.jpg"]
    first, second = tmp_path / "a", tmp_path / "b"
    assert pack(tmp_path, first) == pack(tmp_path, second)
    assert all(split_file(first, split).read_bytes() == split_file(second, split).read_bytes() for split in SPLITS)
