"""A copy of NATIX's data, put in by one setting, from pull to validate: no boxes, sorted, four fifths roadwork."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from tasks.common.files import read_json
from tasks.config import load_params
from tasks.data.pull import pull_data
from tasks.data.schema import SPLITS, read_records, split_file
from tasks.embed import embed
from tasks.export import ExportInputs, export
from tasks.tools.profile import switch
from tasks.train import train
from tasks.validate import validate
from tests.integration.tasks.conftest import Workplace, quick
from tests.support.natix import write_natix
from tests.support.paths import ROOT

# four blocks of the real backbone, on cores that others may be using
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def root(workplace: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stages leave behind."""
    root = tmp_path_factory.mktemp("natix")
    shutil.copy(ROOT / "params.yaml", root / "params.yaml")
    switch("sample", {"pull.data.path": str(write_natix(root / "copy", drives=8, tests=2))}, root / "params.yaml")
    params = quick(load_params(root / "params.yaml"))
    assert params.train.box_weight > 0
    reports, pulled = root / "reports", root / "pulled"
    pull_data(params.pull, pulled, reports / "pull" / "metrics.json")
    embed(
        params.embed.model_copy(update={"views": 1}), pulled, workplace.backbone, root / "features", root / "embed.json"
    )
    longer, prior = params.train.model_copy(update={"epochs": 3}), params.prior
    train(longer, root / "features", root / "head", reports / "train", prior=prior)
    inputs = ExportInputs(workplace.backbone, root / "head", pulled)
    export(params.export, inputs, root / "classifier", root / "e.json", prior=prior)
    validate(params.validate_, root / "classifier", pulled, reports / "validate", prior=prior)
    return root


def test_no_drive_lies_on_two_sides(root: Path) -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for split in SPLITS:
        for row in read_records(split_file(root / "pulled", split), ["place"]):
            splits[row["place"]].add(split)
    assert len(splits) == 10
    assert all(len(found) == 1 for found in splits.values())


def test_figures_and_slices_are_there(root: Path) -> None:
    found = read_json(root / "reports" / "validate" / "metrics.json")
    assert found["n"] == 10 * 4
    assert 0 <= found["mcc"] <= 1
    assert found["slice"]["time"].keys() == {"day", "night"}
    # without boxes nobody knows which crops lost their works
    assert found["unanswerable"]["share"] == 0


def test_figures_are_for_one_to_one_beside_the_constant_answer(root: Path) -> None:
    with_roadwork = [row["label"] for row in read_records(split_file(root / "pulled", "challenge"), ["label"])]
    assert sum(with_roadwork) / len(with_roadwork) == 0.8
    constant = {"accuracy": 0.5, "mcc": 0.0, "reward": 0.015625}
    found = {name: read_json(root / "reports" / name / "metrics.json") for name in ("train", "validate")}
    found["export"] = read_json(root / "e.json")
    assert {name: (one["prior"], one["constant"]) for name, one in found.items()} == dict.fromkeys(
        found, (0.5, constant)
    )
    # a head that was no better would not have been exported
    assert found["export"]["calibrated"]["reward"] > constant["reward"]
    right = found["validate"]
    assert right["accuracy"] == pytest.approx((right["recall"] + _specificity(right)) / 2, abs=1e-4)


def _specificity(found: dict[str, float]) -> float:
    """Share of clear views answered rightly, from precision and recall at one to one."""
    if not found["precision"]:
        return 1.0
    return 1 - found["recall"] * (1 - found["precision"]) / found["precision"]


def test_the_report_says_what_to_beware_of(root: Path) -> None:
    findings = read_json(root / "reports" / "pull" / "doctor.json")["findings"]
    assert {"prior", "order"} <= {one["check"] for one in findings}
    assert not [one for one in findings if one["level"] == "error"]
