"""Files of `predict --save`: no two share a name, and no input is ever overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cascade.display.saving import PictureFolder, target_names
from tests.support.predictions import prediction


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["a.jpg"], ["a_predicted.jpg"]),
        # one name in two folders, in two formats, and in two folders of one name
        (["x/a.jpg", "y/a.jpg"], ["x_a_predicted.jpg", "y_a_predicted.jpg"]),
        (["x/a.jpg", "x/a.png"], ["x_a_predicted.jpg", "x_a_predicted-2.jpg"]),
        (["p/x/a.jpg", "q/x/a.jpg"], ["x_a_predicted.jpg", "x_a_predicted-2.jpg"]),
        # the same file twice is one picture
        (["x/a.jpg", "x/a.jpg"], ["a_predicted.jpg", "a_predicted.jpg"]),
        # names that only case tells apart
        (["A.jpg", "a.jpg"], ["A_predicted.jpg", "a_predicted-2.jpg"]),
        # a name made of others' names
        (["x/a.jpg", "y/a.jpg", "x_a.jpg"], ["x_a_predicted.jpg", "y_a_predicted.jpg", "x_a_predicted-2.jpg"]),
        # a result of an earlier run that is an input now
        (["out/a_predicted.jpg", "a.jpg"], ["a_predicted_predicted.jpg", "a_predicted-2.jpg"]),
    ],
)
def test_names(tmp_path: Path, inputs: list[str], names: list[str]) -> None:
    found = target_names(tmp_path / "out", [tmp_path / name for name in inputs])
    assert [path.name for path in found] == names


NAME = st.sampled_from(
    ["a.jpg", "a.png", "A.jpg", "a_predicted.jpg", "x_a.jpg", "a_predicted-2.jpg", ".jpg", "ü" * 120]
)


@given(st.lists(st.tuples(st.sampled_from(["", "x", "y/x", "out"]), NAME), min_size=1, max_size=8, unique=True))
def test_no_two_names_are_the_same_and_none_is_an_input(parts: list[tuple[str, str]]) -> None:
    root = Path("/pictures")
    inputs = [root / folder / name for folder, name in parts]
    found = target_names(root / "out", inputs)
    assert len({path.name.casefold() for path in found}) == len(inputs)
    assert not set(found) & set(inputs)
    assert all(len(path.name.encode()) <= 255 - len(".12345678") for path in found)


def test_a_link_to_an_input_is_replaced_and_not_followed(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    Image.new("RGB", (64, 48)).save(source)
    content = source.read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_predicted.jpg").symlink_to(source)
    (tmp_path / "out" / "a_predicted-2.jpg").hardlink_to(source)
    for _ in range(2):
        written = PictureFolder(tmp_path / "out", [source]).save_image(source, Image.open(source), prediction())
        assert written.parent == tmp_path / "out"
    assert source.read_bytes() == content
    with Image.open(written) as image:
        assert image.format == "JPEG"
    # nothing half-written stays
    assert not list((tmp_path / "out").glob(".*"))


def test_a_folder_that_cannot_be_made_or_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        PictureFolder(tmp_path / "file", [])
    source = tmp_path / "a.png"
    Image.new("RGB", (64, 48)).save(source)
    pictures = PictureFolder(tmp_path / "out", [source])
    (tmp_path / "out").rmdir()
    with pytest.raises(OSError, match="No such file"):
        pictures.save_image(source, Image.open(source), prediction())
