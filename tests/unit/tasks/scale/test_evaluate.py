"""A folder evaluated by batches gives the report of `streetvision evaluate`, and its command says what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cascade import cli
from cascade.evaluate.folder import EvaluationReport, read_folder, score, summarise
from cascade.labelled.files import FolderError
from cascade.local.session import open_cascade
from cascade.release.store import CropSettings, Release
from tasks.config.scale import ScaleParams
from tasks.scale.evaluate import evaluate_folder
from tests.support import bad_images, tiny
from tests.support.paths import ROOT
from tests.support.ray_cluster import needs_ray

PARAMS = tiny.runtime_params()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny.write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures in two batches, one that looks like the other class, and two that cannot be used."""
    root = tmp_path_factory.mktemp("labelled")
    for name, top in (("roadwork", tiny.ORANGE), ("clear", tiny.BLUE)):
        (root / name).mkdir()
        for index in range(10):
            wrong = name == "clear" and index == 9
            (root / name / f"{index}.jpg").write_bytes(tiny.encoded(tiny.street(tiny.ORANGE if wrong else top)))
    (root / "clear" / "truncated.jpg").write_bytes(bad_images.BAD["truncated.jpg"][0])
    (root / "clear" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    return root


def without_times(report: EvaluationReport) -> dict[str, object]:
    found = report.model_dump()
    for metrics in (found["metrics"], *(one for column in found["slices"].values() for one in column.values())):
        metrics.pop("milliseconds")
    return found


def test_nothing_to_read_is_an_error(tmp_path: Path, release: Release) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FolderError, match="no labelled images"):
        evaluate_folder(tmp_path / "empty", PARAMS, ScaleParams(), release.folder, prior=0.5)


@pytest.mark.parametrize("crops", [None, CropSettings(count=3, pool="max")])
@pytest.mark.parametrize("stage", [None, "classifier"])
def test_the_report_is_that_of_a_local_evaluation(
    folder: Path, release: Release, stage: str | None, crops: CropSettings | None
) -> None:
    left_out: list[dict[str, str]] = []
    samples = read_folder(folder, left_out)
    with open_cascade(release.folder, PARAMS, stage=stage, crops=crops) as cascade:
        scored, skipped = score(cascade, samples, PARAMS.serve)
    expected = summarise(scored, [*left_out, *skipped], release.id, prior=0.5)
    found = evaluate_folder(folder, PARAMS, ScaleParams(), release.folder, stage=stage, crops=crops, prior=0.5)
    assert without_times(found) == without_times(expected)
    assert (found.metrics["n"], len(found.skipped)) == (20, 2)


@needs_ray
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prior", "2"], "--prior 2: expected a share"),
        (["--crops", "0"], "--crops 0 --pool mean: "),
        (["--crops", "2", "--pool", "sum"], "--crops 2 --pool sum: "),
        # nothing answers there: settings alone sent it to the cluster
        ([], "scale.address 127.0.0.1:1: no Ray cluster answers there"),
    ],
)
def test_the_command_goes_to_the_cluster_by_settings_alone(
    folder: Path, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document["scale"] |= {"engine": "ray", "address": "127.0.0.1:1"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.app, ["evaluate", str(folder), "--release", str(release.folder), *options])
    assert (done.exit_code, message in done.stderr) == (1, True), done.stderr
    document["scale"]["engine"] = "local"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    if not options:
        done = CliRunner().invoke(cli.app, ["evaluate", str(folder), "--release", str(release.folder), "--json"])
        assert json.loads(done.stdout)["metrics"]["n"] == 20
        assert (done.exit_code, "left out: 2 of 22" in done.stderr) == (1, True)
