"""Step `select_stages` over a real (tiny) classifier and a made-up vlm: decided, written, cached, and repeatable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.release.build import build_release
from cascade.release.manifest import CascadeSettings
from cascade.release.store import load_release
from cascade.stages.base import Stage, StageResult
from cascade.stages.factory import build_stage
from tasks.config import Params, load_params
from tasks.data.schema import DataError
from tasks.selection import stage_predictions
from tasks.selection.compare import SelectionPaths, compare_stages
from tasks.selection.page import BEGIN, END, write_doc
from tasks.selection.stages import available_stages
from tasks.selection.views import stage_views
from tests.support import drawn, tiny
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration


class ConeVlm:
    """Finds the orange of a cone; `wrong` inverts its answers. Counts the pictures."""

    name, memory_bytes = "vlm", 0
    count = 0

    def __init__(self, *, wrong: bool) -> None:
        self.wrong = wrong

    def load(self) -> None:
        pass

    def unload(self) -> None:
        pass

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        ConeVlm.count += len(images)
        return [self._answer(np.asarray(image).astype(int)) for image in images]

    def _answer(self, pixels: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> StageResult:
        orange = bool(np.mean((pixels[..., 0] > 180) & (pixels[..., 2] < 90) & (pixels[..., 1] < 150)) > 0.002)
        works = orange != self.wrong
        p, verdict = (0.95, "roadwork") if works else (0.05, "clear")
        return StageResult(stage="vlm", probability=p, verdict=verdict, milliseconds=3)  # type: ignore[arg-type]


@pytest.fixture
def places(tmp_path: Path) -> SelectionPaths:
    tiny.write_classifier(tmp_path / "models" / "classifier", gain=1.0)
    (tmp_path / "models" / "vlm").mkdir()
    (tmp_path / "models" / "vlm" / "vlm.json").write_text("{}")
    drawn.write_sample(tmp_path / "pulled")
    return SelectionPaths(
        models=tmp_path / "models",
        pulled=tmp_path / "pulled",
        reports=tmp_path / "reports",
        out=tmp_path / "models" / "cascade",
        store=tmp_path / "store",
    )


def parameters(images: int = 12) -> Params:
    params = load_params(ROOT / "params.yaml")
    ocr = params.ocr.model_copy(update={"backend": "off"})
    # a dozen pictures prove nothing with 95 % confidence
    few = {"images": images, "min_net": 0, "confidence": 0.0}
    return params.model_copy(update={"ocr": ocr, "select_stages": params.select_stages.model_copy(update=few)})


def with_vlm(patch: pytest.MonkeyPatch, *, wrong: bool) -> None:
    def build(name: str, folder: Path, settings: CascadeSettings) -> Stage:
        return ConeVlm(wrong=wrong) if name == "vlm" else build_stage(name, folder, settings)

    patch.setattr(stage_predictions, "build_stage", build)


def test_a_vlm_that_helps_is_switched_on(
    places: SelectionPaths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_vlm(monkeypatch, wrong=False)
    metrics = compare_stages(parameters(), places)
    assert metrics["stage"]["vlm"]["on"]
    assert metrics["cascade"]["mcc"] > metrics["stage"]["classifier"]["alone"]["mcc"]
    assert metrics["stage"]["vlm"]["flips"]["net"] > 0
    # what it is worth at the subnet's sample sizes, with and without it on the same draws
    assert metrics["expected_reward"]["value"] == pytest.approx(metrics["cascade"]["reward"], abs=0.05)
    assert metrics["stage"]["vlm"]["reward_change"]["value"] > 0.1
    assert metrics["stage"]["classifier"]["reward_change"] is not None
    assert {path.name for path in (places.reports / "plots").iterdir()} == {"risk_coverage.png"}
    assert (places.reports / "accuracy_cost.png").is_file()
    assert json.loads((places.out / "sources.json").read_text()) == {"classifier": "classifier", "vlm": "vlm"}
    # what it wrote becomes part of a release
    settings = CascadeSettings.model_validate_json((places.out / "cascade.json").read_text())
    assert [(entry.name, entry.on) for entry in settings.stages] == [("classifier", True), ("vlm", True)]
    release = build_release(
        places.models / "classifier",
        tiny.write_metrics(tmp_path / "gate.json"),
        tmp_path / "releases",
        revision={"data": "d" * 64},
        stages={"vlm": places.models / "vlm"},
        settings=places.out / "cascade.json",
    )
    assert load_release(release.folder).settings == settings


def test_a_vlm_that_spoils_answers_is_switched_off_and_the_page_gives_the_reason(
    places: SelectionPaths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_vlm(monkeypatch, wrong=True)
    metrics = compare_stages(parameters(), places)
    assert not metrics["stage"]["vlm"]["on"]
    net = metrics["stage"]["vlm"]["flips_calibration"]["net"]
    assert net < 0
    (entry,) = [one for one in json.loads((places.out / "cascade.json").read_text())["stages"] if one["name"] == "vlm"]
    assert f"net value {net:+d}" in entry["why"]
    page = tmp_path / "cascade.md"
    page.write_text(f"# The cascade\n\nWords of ours.\n\n{BEGIN}\n{END}\n")
    for _ in range(2):
        write_doc(json.loads((places.reports / "stages.json").read_text()), page)
    text = page.read_text()
    assert text.count("| classifier | yes |") == text.count("| vlm | no |") == 1
    assert "vlm stage is switched off" in text
    change = metrics["stage"]["vlm"]["reward_change"]
    assert change["value"] < 0
    # the page wraps its sentences
    assert f"The vlm stage is worth {change['value']:+.3f} reward (95 % interval" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120
    # the same table for the page in Prefect and MLflow
    assert (places.reports / "stages.md").read_text().splitlines()[2:] == text.splitlines()[5:-1]
    assert text.startswith("# The cascade\n\nWords of ours.\n")


def test_stages_run_once_and_the_metrics_repeat(places: SelectionPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    with_vlm(monkeypatch, wrong=False)
    compare_stages(parameters(), places)
    first, count = (places.reports / "metrics.json").read_bytes(), ConeVlm.count
    compare_stages(parameters(), places)
    assert ConeVlm.count == count
    assert (places.reports / "metrics.json").read_bytes() == first
    # other weights give new results
    (places.models / "vlm" / "vlm.json").write_text('{"new": 1}')
    compare_stages(parameters(), places)
    assert ConeVlm.count > count


def test_a_model_that_is_missing_is_named(places: SelectionPaths) -> None:
    with pytest.raises(DataError, match="classifier: no such folder"):
        compare_stages(parameters(), SelectionPaths(models=places.pulled, pulled=places.pulled))
    with pytest.raises(DataError, match=r"calibration.parquet: no such file"):
        compare_stages(parameters(), SelectionPaths(models=places.models, pulled=places.models, store=places.store))


@pytest.mark.parametrize(("images", "views", "count"), [(8, 1, 8), (4, 1, 4), (4, 4, 16), (100, 2, 16)])
def test_views_are_spread_over_labels_and_levels(places: SelectionPaths, images: int, views: int, count: int) -> None:
    chosen = stage_views(places.pulled / "challenge.parquet", images=images, views=views, seed=3, size=64)
    assert len(chosen) == count
    assert sum(view.label for view in chosen) == count // 2
    assert len({(view.key, view.level) for view in chosen}) == count
    again = stage_views(places.pulled / "challenge.parquet", images=images, views=views, seed=3, size=64)
    assert [view.pixels.tobytes() for view in again] == [view.pixels.tobytes() for view in chosen]
    for label in (0, 1):
        assert len({view.level for view in chosen if view.label == label}) == min(4, count // 2)


@pytest.mark.parametrize(("quantized", "folder"), [(False, "vlm"), (True, "vlm_awq")])
def test_the_quantized_vlm_replaces_its_source_where_it_is_to_be_served(
    places: SelectionPaths, quantized: bool, folder: str
) -> None:
    ocr = parameters().ocr
    assert available_stages(places.models, ocr, quantized=quantized)["vlm"] == places.models / folder
