"""The real renderer, one place, where Blender's wheel is at hand; the stand-in's promises are checked against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.synthesis import render, renderer
from tasks.synthesis.blender_python import PYTHON
from tests.support.synthesis import params, reason_to_skip_blender

pytestmark = pytest.mark.integration


@pytest.mark.slow
def test_two_pictures_of_a_real_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := reason_to_skip_blender():
        pytest.skip(reason)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setattr(render, "SHOTS", 2)
    monkeypatch.setattr(renderer, "SHOTS", 2)
    wanted = params(num_positive=1, num_negative=1, render__samples=1, render__max_places=1)
    found, about = render.make(wanted, tmp_path)
    assert [picture.row.label for picture in found] == [1, 0]
    assert found[0].row.objects
    assert not found[1].row.objects
    assert all(picture.row.place == "rendered-11-0008" for picture in found)
    assert about["revision"] == found[0].origin["revision"]
    monkeypatch.setenv(PYTHON, "nothing")
    assert render.make(wanted, tmp_path)[0] == found
