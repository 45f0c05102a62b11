"""A release of what DVC left in the workspace, however it links the workspace to its cache."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.release.collect import assemble
from tests.support import tiny

pytestmark = pytest.mark.integration

STAGES = """
stages:
  make:
    cmd: cp -r made/. .
    deps: [made]
    outs: [models/classifier, models/detectors, models/cascade]
    metrics: [reports/validate/metrics.json: {cache: false}]
"""
ENTRIES = [{"name": name, "on": name in ("classifier", "detectors")} for name in ("classifier", "detectors", "vlm")]


def dvc(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("kind", "elsewhere"),
    [
        pytest.param("symlink", False, marks=pytest.mark.slow),
        # a cache outside of the project: `dvc cache dir`
        ("symlink", True),
        pytest.param("hardlink", False, marks=pytest.mark.slow),
        # what DVC tries first by default; a file system without it gets copies
        pytest.param("reflink,copy", False, marks=pytest.mark.slow),
    ],
)
def test_a_release_is_built_of_linked_outputs(
    dvc_repository: Callable[[str], Path], tmp_path: Path, kind: str, elsewhere: bool
) -> None:
    folder = dvc_repository(STAGES)
    made = folder / "made"
    tiny.write_classifier(made / "models/classifier")
    tiny.write_metrics(made / "reports/validate/metrics.json")
    for name, text in (("detectors.json", "{}"), ("yolo/network.onnx", "onnx")):
        (made / "models/detectors" / name).parent.mkdir(parents=True, exist_ok=True)
        (made / "models/detectors" / name).write_text(text)
    (made / "models/cascade").mkdir()
    (made / "models/cascade/cascade.json").write_text(json.dumps({"stages": ENTRIES}))
    (made / "models/cascade/sources.json").write_text(json.dumps({"detectors": "detectors"}))
    dvc(folder, "config", "cache.type", kind)
    if elsewhere:
        dvc(folder, "cache", "dir", str(tmp_path / "cache"))
    dvc(folder, "repro")
    assert (folder / "models/detectors/detectors.json").is_symlink() == (kind == "symlink")

    release = assemble(folder)
    assert {"detectors/detectors.json", "detectors/yolo/network.onnx", "cascade.json"} < set(release.manifest.files)
    for path in (path for path in release.folder.rglob("*") if not path.is_dir()):
        assert not path.is_symlink()
        assert (path.stat().st_nlink, path.stat().st_mode & 0o200) == (1, 0o200)
    shutil.rmtree(tmp_path / "cache" if elsewhere else folder / ".dvc/cache")
    assert release.settings.stages[1].on
