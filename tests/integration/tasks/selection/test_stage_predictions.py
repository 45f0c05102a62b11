"""The cache of stage predictions: what makes an entry stale, in a copy of the code, and what a damaged one does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from cascade.release.manifest import CascadeSettings
from cascade.stages.base import Stage, StageResult
from tasks.selection import stage_predictions as module
from tasks.selection.stage_predictions import StagePredictions, stage_predictions
from tasks.selection.views import StageView
from tests.support import drawn, tiny, tiny_detector
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration
STAGES = ("classifier", "detectors", "vlm", "ocr")
VIEWS = [StageView(str(n), n % 2, f"place {n}", 1, Image.new("RGB", (8, 8), (n, n, n))) for n in range(4)]


class FakeStage:
    """Gives 0.5 for every picture."""

    memory_bytes = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self) -> None:
        pass

    def unload(self) -> None:
        pass

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        return [StageResult(stage=self.name, probability=0.5, verdict="undecided", milliseconds=1.5) for _ in images]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the stages that were built, so that they run; the detectors have no engines of their own here."""
    names: list[str] = []

    def build(name: str, folder: Path, settings: CascadeSettings) -> Stage:
        names.append(name)
        return FakeStage(f"fake {name}")

    monkeypatch.setattr(module, "build_stage", build)
    return names


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The code of the project, to be edited."""
    for name in ("cascade", "tasks"):
        shutil.copytree(ROOT / name, tmp_path / "code" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "code"


def predict(root: Path, code: Path, settings: CascadeSettings | None = None) -> StagePredictions:
    folders = {name: root / "models" / name for name in STAGES}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return stage_predictions(VIEWS, folders, settings or CascadeSettings(), root / "store", decided_views=2, code=code)


def edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(code: Path) -> None:
        text = (code / file).read_text(encoding="utf-8")
        assert old in text
        (code / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


ALL = set(STAGES)


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        # the rule by which the detectors agree, and what is read from the words of a picture
        (edit("cascade/detection/agreement.py", "iou", "overlap"), {"detectors"}),
        (edit("cascade/ocr/keywords.yaml", "work zone", "kerb works"), {"ocr"}),
        (edit("cascade/preprocess/crops.py", "def square_crops", "EXTRA = 1\n\n\ndef square_crops"), {"classifier"}),
        (edit("cascade/vlm/reading.py", "import annotations", "import annotations\n\nEXTRA = 1"), {"vlm"}),
        # how a stage is built from the settings, and how its results are recorded
        (edit("cascade/stages/factory.py", "import annotations", "import annotations\n\nEXTRA = 1"), ALL),
        (edit("tasks/selection/record.py", "NO_ESTIMATE = 0.5", "NO_ESTIMATE = 0.4"), ALL),
        # words for people, and code of other parts
        (edit("cascade/detection/agreement.py", '"""', '"""Other words. '), set()),
        (edit("cascade/stages/ocr.py", "import annotations", "import annotations\n\n# a comment"), set()),
        (edit("tasks/selection/replay.py", "import annotations", "import annotations\n\nEXTRA = 1"), set()),
        (edit("cascade/api/app.py", "import annotations", "import annotations\n\nEXTRA = 1"), set()),
    ],
)
def test_an_edit_makes_new_predictions_of_the_stages_that_it_reaches(
    tmp_path: Path, copy: Path, built: list[str], change: Callable[[Path], None], stale: set[str]
) -> None:
    predict(tmp_path, copy)
    assert set(built) == ALL
    built.clear()
    change(copy)
    predict(tmp_path, copy)
    assert set(built) == stale


def test_files_settings_and_views_make_new_predictions(tmp_path: Path, built: list[str]) -> None:
    def stages_run(settings: CascadeSettings | None = None) -> set[str]:
        built.clear()
        predict(tmp_path, ROOT, settings)
        return set(built)

    assert stages_run() == ALL
    assert stages_run() == set()
    (tmp_path / "models" / "vlm" / "vlm.json").write_text("{}", encoding="utf-8")
    assert stages_run() == {"vlm"}
    assert stages_run(CascadeSettings(ocr={"min_words": 3})) == ALL
    VIEWS[0].pixels.putpixel((0, 0), (255, 0, 0))
    assert stages_run() == ALL


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "",
        lambda text: "[]",
        # valid JSON and another number
        lambda text: text.replace("1.5", "2.5", 1),
        # of fewer views
        lambda text: json.dumps({**json.loads(text), "record": {"with_prior": [], "without_prior": []}}),
    ],
)
def test_a_damaged_entry_is_computed_again(tmp_path: Path, built: list[str], damage: Callable[[str], str]) -> None:
    first = predict(tmp_path, ROOT)
    built.clear()
    (entry,) = (tmp_path / "store").glob("vlm-*.json")
    entry.write_text(damage(entry.read_text(encoding="utf-8")), encoding="utf-8")
    assert predict(tmp_path, ROOT) == first
    assert built == ["vlm"]
    assert predict(tmp_path, ROOT) == first
    assert built == ["vlm"]


class Deciding(FakeStage):
    """Is sure of the views whose pixels are even."""

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        results = super().predict(images)
        sure = [image.getpixel((0, 0))[0] % 2 == 0 for image in images]  # type: ignore[index]
        return [
            one.model_copy(update={"verdict": "roadwork"}) if is_sure else one
            for one, is_sure in zip(results, sure, strict=True)
        ]


@pytest.mark.parametrize(
    ("decided_views", "ran"),
    [
        # as the selection on the calibration split needs it: undecided views alone
        (None, {"detectors": [1, 3, 5], "vlm": [1, 3, 5], "ocr": [1, 3, 5]}),
        # figures of stages alone: the fast one on all views, the slow ones on the first few as well
        (0, {"detectors": [0, 1, 2, 3, 4, 5], "vlm": [1, 3, 5], "ocr": [1, 3, 5]}),
        (3, {"detectors": [0, 1, 2, 3, 4, 5], "vlm": [0, 1, 2, 3, 5], "ocr": [0, 1, 2, 3, 5]}),
    ],
)
def test_later_stages_run_where_their_results_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decided_views: int | None, ran: dict[str, list[int]]
) -> None:
    def build(name: str, folder: Path, settings: CascadeSettings) -> Stage:
        return Deciding(name) if name == "classifier" else FakeStage(f"fake {name}")

    monkeypatch.setattr(module, "build_stage", build)
    views = [StageView(str(n), n % 2, "place", 1, Image.new("RGB", (8, 8), (n, n, n))) for n in range(6)]
    folders = {name: tmp_path / name for name in STAGES}
    for folder in folders.values():
        folder.mkdir()
    found = stage_predictions(views, folders, CascadeSettings(), tmp_path / "store", decided_views=decided_views)
    for name, indices in ran.items():
        assert [n for n, result in enumerate(found.stages[name].with_prior) if result is not None] == indices, name


PREDICT = """
import json
from pathlib import Path
from cascade.release.manifest import CascadeSettings
from tasks.selection.stage_predictions import stage_predictions
from tasks.selection.views import stage_views

views = stage_views(Path("pulled/calibration.parquet"), images=8, views=1, seed=3, size=224)
folders = {name: Path("models", name) for name in ("classifier", "detectors")}
found = stage_predictions(views, folders, CascadeSettings(), Path("store"), decided_views=8)
print(json.dumps([result.verdict for result in found.stages["detectors"].with_prior]))
"""


def test_an_edited_rule_gives_other_results(tmp_path: Path, copy: Path) -> None:
    """With real engines, in a process that runs the copy of the code."""
    tiny.write_classifier(tmp_path / "models" / "classifier")
    tiny_detector.write_detectors(tmp_path / "models" / "detectors")
    drawn.write_sample(tmp_path / "pulled")

    def verdicts() -> list[str]:
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        done = subprocess.run(
            [sys.executable, "-c", PREDICT], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return list(json.loads(done.stdout))

    before = verdicts()
    assert "roadwork" not in before
    edit("cascade/detection/agreement.py", "def agree(", "def agree(*_):\n    return 'roadwork'\n\n\ndef _agree(")(copy)
    assert verdicts() == ["roadwork"] * 8
