"""Pasting as a whole: what is read, what is refused, and what the rows say."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from tasks.data.annotated_images import read_annotated_images, refuse_measured
from tasks.data.schema import DataError, ImageRow, read_records
from tasks.synthesis.paste import PasteSettings, clear_photographs, find_cutouts
from tasks.tools.paste import main
from tasks.tools.sample import write_split

BOX = [40, 50, 80, 60]


def jpeg(level: int) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (160, 120), (level, level, level)).save(target, "JPEG")
    return target.getvalue()


def row(number: int, label: int, source: str) -> ImageRow:
    data = jpeg(60 + number)
    return ImageRow(
        data,
        f"{number}.jpg",
        label,
        sha256=f"{number:064x}",
        place=f"street-{number}",
        source=source,
        slices={"time": "day"},
    )


def write_cutout(folder: Path, name: str, label: int, box: list[int]) -> None:
    image = Image.new("RGBA", (160, 120))
    x, y, width, height = box
    image.paste((220, 90, 10, 255), (x, y, x + width, y + height))
    image.save(folder / f"{name}.png")
    objects = [{"category": "drum", "bbox": box}] if label else []
    facts = {"label": label, "objects": objects, "time": "noon", "weather": "clear", "road": "city", "region": "eu"}
    (folder / f"{name}.json").write_text(json.dumps(facts))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two clear photographs, one with works, one rendering; a cut-out a label."""
    rows = [row(1, 0, "mine/a"), row(2, 0, "mine/b"), row(3, 1, "mine/a"), row(4, 0, "rendered")]
    write_split(tmp_path / "train.parquet", rows)
    (tmp_path / "cutouts").mkdir()
    write_cutout(tmp_path / "cutouts", "c1_0000_0", 1, BOX)
    write_cutout(tmp_path / "cutouts", "c1_0000_2", 0, BOX)
    return tmp_path


def run(data: Path, *arguments: str) -> int:
    return main(
        [str(data / "train.parquet"), "--cutouts", str(data / "cutouts"), "--out", str(data / "out"), *arguments]
    )


def test_works_and_clear_of_each_clear_photograph(data: Path) -> None:
    assert run(data) == 0
    rows = list(read_records(data / "out" / "train.parquet"))
    assert [(one["label"], one["source"], one["place"]) for one in rows] == [
        (1, "pasted/mine/a", "street-1"),
        (0, "pasted/mine/a", "street-1"),
        (1, "pasted/mine/b", "street-2"),
        (0, "pasted/mine/b", "street-2"),
    ]
    assert [bool(one["objects"]) == bool(one["scene_description"]) == bool(one["label"]) for one in rows] == [True] * 4
    assert {one["time"] for one in rows} == {"day"}
    assert len({one["sha256"] for one in rows}) == 4
    assert (data / "out" / "sheet.jpg").is_file()


def test_the_same_seed_gives_the_same_bytes(data: Path) -> None:
    found = []
    for seed in ("1", "1", "2"):
        assert run(data, "--seed", seed) == 0
        found.append((data / "out" / "train.parquet").read_bytes())
    assert found[0] == found[1] != found[2]


def test_works_too_small_give_no_pair(data: Path) -> None:
    write_cutout(data / "cutouts", "c1_0000_0", 1, [40, 70, 5, 5])
    assert run(data) == 0
    assert list(read_records(data / "out" / "train.parquet")) == []


def test_a_place_that_is_measured_is_refused_in_training(data: Path) -> None:
    """The place of the photograph is kept, so the guard of `adapt` sees it."""
    assert run(data) == 0
    write_split(data / "calibration.parquet", [row(1, 0, "mine/a")])
    with pytest.raises(DataError, match="street-1"):
        refuse_measured([one.place for one in read_annotated_images([data / "out" / "train.parquet"])], data)


@pytest.mark.parametrize(
    ("without", "count"),
    [
        ((), 2),  # renderings and works are no clear photographs
        (("mine/a",), 1),
        (("mine/a", "mine/b"), 0),
    ],
)
def test_sources_that_are_pasted_into(data: Path, without: tuple[str, ...], count: int) -> None:
    settings = PasteSettings(without=frozenset(without))
    if count:
        assert len(clear_photographs([data / "train.parquet"], settings)) == count
        return
    with pytest.raises(DataError, match=r"no clear photographs; pull\.beside"):
        clear_photographs([data / "train.parquet"], settings)


def test_cutouts_of_one_label_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "cutouts" / "c1_0000_2.png").unlink()
    with pytest.raises(DataError, match="1 cut-outs of works and 0 of look-alikes"):
        find_cutouts(data / "cutouts")
    assert run(data) == 1
    assert "tasks/tools/cutouts.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--without", "mine/c"), "no photograph is of the source 'mine/c'"),
        (("--horizon", "mine/c=0.4"), "no photograph is of the source 'mine/c'"),
        (("--horizon", "mine/a=low"), "--horizon mine/a=low: 'low' is no share"),
    ],
)
def test_arguments_that_are_refused(
    data: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, *arguments) == 1
    assert message in capsys.readouterr().err


def test_horizons_by_source(data: Path) -> None:
    """A lower horizon moves the works down."""
    assert run(data, "--horizon", "0.4", "mine/b=0.7") == 0
    boxes = {
        one["source"]: one["objects"][0]["bbox"] for one in read_records(data / "out" / "train.parquet") if one["label"]
    }
    assert boxes["pasted/mine/b"][1] > boxes["pasted/mine/a"][1] + 15
