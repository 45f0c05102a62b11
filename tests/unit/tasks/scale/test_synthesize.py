"""Rendering by places around a stand-in renderer: the same pictures as at once, each kept as soon as it is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.config.scale import ScaleParams
from tasks.data.schema import DataError
from tasks.scale import synthesize
from tasks.scale.engine import run_items
from tasks.scale.synthesize import Rendered, rendering_on
from tasks.synthesis import render
from tasks.synthesis.blender_python import PYTHON
from tasks.synthesis.renderer import run_renderer
from tests.support.synthesis import content, params, stand_in, write_renderer

RAY = ScaleParams(engine="ray")


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """The places that workers get, one after the other in this process."""
    monkeypatch.setenv(PYTHON, sys.executable)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    given: list[int] = []

    def here(_: ScaleParams, make: Any, items: list[int]) -> Iterator[Rendered]:
        given.extend(items)
        yield from run_items(ScaleParams(), make, items)

    monkeypatch.setattr(synthesize, "run_items", here)
    return given


def pictures(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in content(root).items() if name.endswith((".jpg", ".json"))}


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        # the renderer breaks, and says why
        ("raise ImportError('libXrender.so.1: cannot open')", r"(?s)libXrender.so.1.*bpy"),
        # it says all is well and leaves nothing
        ("for path in o.out.glob('*.jpg'): path.unlink()", "0 of 6"),
    ],
)
def test_a_renderer_that_fails_is_said(tmp_path: Path, ending: str, message: str) -> None:
    script = stand_in(write_renderer(tmp_path, ending=ending))
    with pytest.raises(DataError, match=message):
        render.make(params(), tmp_path / "work", script, rendering_on(RAY))


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 12345)
    with pytest.raises(DataError, match="streetvision-render-12345: belongs to somebody else"):
        render.make(params(), tmp_path / "work", stand_in(write_renderer(tmp_path)), rendering_on(RAY))


def test_pictures_are_those_of_a_local_run(tmp_path: Path, places: list[int]) -> None:
    script = stand_in(write_renderer(tmp_path))
    assert rendering_on(ScaleParams()) is run_renderer
    here = render.make(params(), tmp_path / "here", script)
    there = render.make(params(), tmp_path / "there", script, rendering_on(RAY))
    assert there == here
    assert pictures(tmp_path / "there") == pictures(tmp_path / "here")
    assert places == [0, 1, 2]
    assert not pictures(tmp_path / "temporary")


def test_only_places_that_lack_a_picture_are_rendered(tmp_path: Path, places: list[int]) -> None:
    script, run = stand_in(write_renderer(tmp_path)), rendering_on(RAY)
    first, _ = render.make(params(), tmp_path / "work", script, run)
    next(tmp_path.glob("work/*/p11_0009_2.jpg")).unlink()
    damaged = next(tmp_path.glob("work/*/p11_0010_0.jpg"))
    damaged.write_bytes(damaged.read_bytes()[:-50])
    places.clear()
    assert render.make(params(), tmp_path / "work", script, run)[0] == first
    assert places == [1, 2]
    places.clear()
    assert render.make(params(), tmp_path / "work", script, run)[0] == first
    assert places == []


def test_what_is_done_stays_done(tmp_path: Path, places: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second place fails; the same command then renders that one and those after it."""
    whole, script = synthesize.render_place, stand_in(write_renderer(tmp_path))

    def fail(*given: Any) -> None:
        if given[-1] == 1:
            raise DataError("the node is out of memory")
        whole(*given)

    with monkeypatch.context() as broken:
        broken.setattr(synthesize, "render_place", fail)
        with pytest.raises(DataError, match="out of memory"):
            render.make(params(), tmp_path / "work", script, rendering_on(RAY))
    assert {name.split("_")[1] for name in pictures(tmp_path / "work")} == {"0008"}
    places.clear()
    found, _ = render.make(params(), tmp_path / "work", script, rendering_on(RAY))
    assert (len(found), places) == (12, [1, 2])
