"""The engine `render` around a stand-in renderer that keeps the promises of tasks/tools/render.py."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.data.schema import DataError
from tasks.synthesis import render, renderer
from tasks.synthesis.blender_python import PYTHON
from tests.support.synthesis import ROOT, content, params, stand_in, write_renderer

MAKE = """
import sys
from pathlib import Path
from tasks.synthesis.render import make
from tests.support.synthesis import params, stand_in
make(params(num_positive=4, num_negative=4), Path(sys.argv[1]), stand_in(Path(sys.argv[2])))
"""


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, sys.executable)


def pictures(root: Path) -> list[str]:
    """Names of all pictures that the stand-in began, in turn."""
    return (root / "made.log").read_text().split()


def test_counts_order_and_origin(tmp_path: Path) -> None:
    script = stand_in(write_renderer(tmp_path))
    found, about = render.make(params(num_positive=3, num_negative=2), tmp_path / "work", script)
    assert [picture.row.name for picture in found] == [
        "p11_0008_0.jpg",
        "p11_0008_1.jpg",
        "p11_0008_2.jpg",
        "p11_0008_3.jpg",
        "p11_0009_0.jpg",
    ]
    first = found[0]
    assert (first.row.source, first.row.place, first.row.label) == ("rendered", "rendered-11-0008", 1)
    assert first.row.objects[0]["category"] == "cone"
    assert first.origin["engine"] == "render"
    assert first.origin["seed"] == "11 8 0"
    assert first.origin["scene"]["time"] == "noon"
    assert first.origin["revision"] == script.revision == about["revision"]
    # place 9 gave one picture too many with works and two without
    assert about["left_out"] == {"surplus": 3, "works_too_small": 0}


def test_larger_order_renders_only_what_is_new(tmp_path: Path) -> None:
    script = stand_in(write_renderer(tmp_path))
    few, _ = render.make(params(num_positive=2, num_negative=2), tmp_path, script)
    many, _ = render.make(params(num_positive=4, num_negative=4), tmp_path, script)
    assert many[:4] == few
    assert len(pictures(tmp_path)) == len(set(pictures(tmp_path))) == 8
    # all there: the renderer is not even started, so its absence does not matter
    missing, _ = render.make(params(num_positive=2, num_negative=2), tmp_path, script)
    assert missing == few
    assert len(pictures(tmp_path)) == 8


@pytest.mark.parametrize(
    "changes",
    [
        # another seed, other quality, other distances: none may take the old pictures for theirs
        {"seed": 12},
        {"render__samples": 7},
        {"render__distances": [9]},
    ],
)
def test_work_folder_depends_on_settings(tmp_path: Path, changes: dict[str, Any]) -> None:
    script = renderer.Renderer(tmp_path, "a")
    before = render.work_name(params(), script)
    assert render.work_name(params(**changes), script) != before
    assert render.work_name(params(num_positive=50, slices={"time": ["noon"]}), script) == before
    assert render.work_name(params(), renderer.Renderer(tmp_path, "b")) != before


@pytest.mark.parametrize(
    ("file", "old", "new", "other"),
    [
        # a scene, the renderer itself, its dependencies, and words for people
        ("tasks/synthesis/blender/place.py", "VISIBLE = 0.0035", "VISIBLE = 0.004", True),
        ("tasks/tools/render.py", "maxtasksperchild=1", "maxtasksperchild=2", True),
        ("tasks/tools/render.py", "bpy==4.5.15", "bpy==4.5.16", True),
        ("tasks/synthesis/blender/place.py", "VISIBLE = 0.0035", "VISIBLE = 0.0035  # a share", False),
    ],
)
def test_revision_is_that_of_the_code_without_comments(
    tmp_path: Path, file: str, old: str, new: str, other: bool
) -> None:
    for name in ("tools", "synthesis"):
        shutil.copytree(ROOT / "tasks" / name, tmp_path / "tasks" / name)
    shutil.copyfile(ROOT / "tasks/__init__.py", tmp_path / "tasks/__init__.py")
    before = renderer.revision(tmp_path)
    (tmp_path / file).write_text((tmp_path / file).read_text().replace(old, new, 1))
    assert (renderer.revision(tmp_path) != before) == other


@pytest.mark.parametrize("damage", ["no end", "no facts", "half the facts"])
def test_a_damaged_picture_is_rendered_again(tmp_path: Path, damage: str) -> None:
    script = stand_in(write_renderer(tmp_path))
    first, _ = render.make(params(num_positive=2, num_negative=2), tmp_path, script)
    (picture,) = tmp_path.glob("*/p11_0008_1.jpg")
    if damage == "no end":
        picture.write_bytes(picture.read_bytes()[:-100])
    else:
        picture.with_suffix(".json").write_text("" if damage == "no facts" else '{"label": 0}')
    assert render.make(params(num_positive=2, num_negative=2), tmp_path, script)[0] == first
    assert pictures(tmp_path)[4:] == [picture.name]


def test_slices_try_more_places(tmp_path: Path) -> None:
    wanted = params(num_positive=2, num_negative=2, slices={"time": ["night"]})
    found, about = render.make(wanted, tmp_path, stand_in(write_renderer(tmp_path)))
    assert {picture.row.slices["time"] for picture in found} == {"night"}
    assert about["places"] == 2
    assert about["left_out"]["outside_slices"] == 4


def test_fewer_than_ordered_are_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wanted = params(num_positive=6, num_negative=6, render__max_places=2)
    found, _ = render.make(wanted, tmp_path, stand_in(write_renderer(tmp_path)))
    assert len(found) == 8
    assert "4 of 6" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("share", "ending", "message"),
    [
        # works never large enough: an empty half would unbalance training
        (0.001, "", r"0 of 6 .*max_places"),
        # the renderer breaks: its own words, and what to install
        (0.2, "raise ImportError('libXrender.so.1: cannot open')", r"(?s)libXrender.so.1.*bpy"),
        # it says all is well and leaves too little behind
        (0.2, "for path in o.out.glob('*.jpg'): path.unlink()", r"0 of 6"),
    ],
)
def test_renderer_that_fails(tmp_path: Path, share: float, ending: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        render.make(params(), tmp_path, stand_in(write_renderer(tmp_path, share=share, ending=ending)))


def test_no_renderer_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PYTHON)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="pip install"):
        render.make(params(), tmp_path, stand_in(write_renderer(tmp_path)))
    monkeypatch.setenv(PYTHON, str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="bpy"):
        render.make(params(), tmp_path, stand_in(write_renderer(tmp_path)))


@pytest.mark.parametrize("everyone", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_killed_run_leaves_nothing_to_do_twice(tmp_path: Path, everyone: bool) -> None:
    """SIGKILL hits the step alone, or all of its process group; its renderer ends with it and is waited for."""
    script = write_renderer(tmp_path, pause=0.15)
    (tmp_path / "killed").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE, str(tmp_path / "killed"), str(script)], cwd=ROOT, start_new_session=True
    )
    while not list((tmp_path / "killed").glob("*/*.jpg")):
        assert process.poll() is None
        time.sleep(0.02)
    (os.killpg if everyone else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    wanted = params(num_positive=4, num_negative=4)
    again, _ = render.make(wanted, tmp_path / "killed", stand_in(script))
    straight, _ = render.make(wanted, tmp_path / "straight", stand_in(script))
    assert again == straight
    images = {name: data for name, data in content(tmp_path / "killed").items() if name.endswith((".jpg", ".json"))}
    assert images == {n: d for n, d in content(tmp_path / "straight").items() if n.endswith((".jpg", ".json"))}
    begun = pictures(tmp_path / "killed")
    # the renderer loses at most the picture it was at
    assert len(begun) - len(set(begun)) <= 1
