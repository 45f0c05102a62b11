"""The head that comes with the project: shipped whole, and refused where it does not belong to the adapter."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.classifier.shipped_head import SHIPPED, check_head, ship_head
from tasks.data.schema import DataError
from tests.support.paths import ROOT

ADAPTER = ROOT / "models/shipped/adapter"


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A copy of the shipped head, and of the adapter's manifest beside it."""
    shutil.copytree(ROOT / SHIPPED, tmp_path / "head")
    (tmp_path / "adapter").mkdir()
    shutil.copyfile(ADAPTER / "manifest.json", tmp_path / "adapter/manifest.json")
    return tmp_path / "head"


def test_the_shipped_head_belongs_to_the_shipped_adapter() -> None:
    check_head(ROOT / SHIPPED, ADAPTER)


def test_what_is_shipped_is_what_was_trained(shipped: Path, tmp_path: Path) -> None:
    ship_head(shipped, tmp_path / "again", tmp_path / "adapter")
    assert {one.name: one.read_bytes() for one in (tmp_path / "again").iterdir()} == {
        one.name: one.read_bytes() for one in shipped.iterdir()
    }


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        # not there
        (lambda head: (head / "head.safetensors").unlink(), r"head\.safetensors: no such file"),
        (lambda head: (head / "manifest.json").unlink(), r"manifest\.json: no such file"),
        # altered
        (lambda head: (head / "head.json").write_text("{}"), "its sha256 is not the manifest's"),
        # the adapter was trained again
        (lambda head: (head.parent / "adapter/manifest.json").write_text("{}"), "trained on other changes"),
    ],
)
def test_others_are_refused(shipped: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(shipped)
    with pytest.raises(DataError, match=message) as error:
        check_head(shipped, shipped.parent / "adapter")
    assert "python -m tasks.tools.demo --ship" in str(error.value)


def test_without_a_trained_head_nothing_is_shipped(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro train"):
        ship_head(tmp_path / "nowhere", tmp_path / "head", ADAPTER)
    assert not (tmp_path / "head").exists()
