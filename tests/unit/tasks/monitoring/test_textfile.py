"""Batch runs leave whole files, and a run is never failed by its series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cascade.metrics.series import Series
from cascade.metrics.textfiles import read
from tasks.config import Params, load_params
from tasks.monitoring import runs
from tasks.monitoring.series import FLOW_SUCCESS, PIPELINE, PROMOTIONS
from tasks.monitoring.textfile import write
from tests.support.metrics import naming_faults
from tests.support.paths import ROOT


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    return load_params(ROOT / "params.yaml")


def values(folder: Path) -> dict[str, float]:
    found = {}
    for path in sorted(folder.glob("*.prom")):
        for family in read(path):
            found |= {f"{one.name}{sorted(one.labels.values())}": one.value for one in family.samples}
    return found


@pytest.mark.parametrize("series", PIPELINE, ids=lambda one: one.name)
def test_names_follow_the_rules(series: Series) -> None:
    assert naming_faults(series) == []


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / "new", "mine", {FLOW_SUCCESS: {("mine-daily",): 12.5}, PROMOTIONS: {("promote",): 3}})
    assert values(tmp_path / "new") == {
        "streetvision_flow_last_success_timestamp_seconds['mine-daily']": 12.5,
        "streetvision_promotions_total['promote']": 3.0,
    }
    # nothing but the file itself stays
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine.prom"]


def test_a_label_that_is_missing_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "mine", {FLOW_SUCCESS: {("mine-daily",): 1}})
    with pytest.raises(ValueError, match="labels"):
        write(tmp_path, "mine", {FLOW_SUCCESS: {(): 2}})
    assert values(tmp_path) == {"streetvision_flow_last_success_timestamp_seconds['mine-daily']": 1.0}


def test_a_failure_does_not_hide_the_last_success(params: Params) -> None:
    folder, said = Path("var/metrics"), list[Any]()
    with runs.recorded("mine-daily", params, said.append):
        pass
    before = values(folder)["streetvision_flow_last_success_timestamp_seconds['mine-daily']"]
    with pytest.raises(KeyboardInterrupt), runs.recorded("mine-daily", params, said.append):
        raise KeyboardInterrupt
    after = values(folder)
    assert after["streetvision_flow_last_success_timestamp_seconds['mine-daily']"] == before
    assert after["streetvision_flow_last_failure_timestamp_seconds['mine-daily']"] >= before
    assert said == []


def test_series_that_cannot_be_written_fail_no_run(params: Params) -> None:
    Path("var").mkdir()
    Path("var/metrics").write_text("a file is in the way")
    said: list[Any] = []
    with runs.recorded("retrain", params, said.append):
        pass
    assert any("var/metrics" in line for line in said)


def test_damaged_state_fails_no_run(params: Params) -> None:
    Path("data/reviews").mkdir(parents=True)
    Path("data/reviews/x.csv").write_text("no such columns\n")
    said: list[Any] = []
    with runs.recorded("retrain", params, said.append):
        pass
    assert "not brought up to date: DataError" in said[0]
    assert "streetvision_flow_last_success_timestamp_seconds['retrain']" in values(Path("var/metrics"))
