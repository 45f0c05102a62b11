"""Real cut-outs, where Blender's wheel is at hand: alpha holds objects and shadows, and boxes lie on works."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.synthesis.blender_python import blender_python
from tasks.synthesis.paste import find_cutouts
from tests.support.synthesis import ROOT, reason_to_skip_blender

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SCRIPT = ROOT / "tasks/tools/cutouts.py"


def test_cutouts_of_one_place(tmp_path: Path) -> None:
    if reason := reason_to_skip_blender():
        pytest.skip(reason)
    command = [blender_python(SCRIPT, offline=True), str(SCRIPT)]
    options = [
        "--places",
        "1",
        "--first",
        "1",
        "--shots",
        "3",
        "--samples",
        "1",
        "--processes",
        "1",
        "--out",
        str(tmp_path),
    ]
    subprocess.run([*command, *options], check=True, capture_output=True)
    found = find_cutouts(tmp_path)
    assert {label: len(paths) for label, paths in found.items()} == {1: 2, 0: 1}
    for path in (*found[0], *found[1]):
        alpha = np.asarray(Image.open(path))[..., 3]
        objects = json.loads(path.with_suffix(".json").read_text())["objects"]
        assert bool(objects) == (path in found[1])
        assert 0 < (alpha > 200).mean() < 0.5  # the street and the sky are left out
        assert ((alpha > 8) & (alpha < 200)).any()  # shadows, and edges
        for item in objects:
            x, y, width, height = item["bbox"]
            assert (alpha[y : y + height, x : x + width] > 200).any()
