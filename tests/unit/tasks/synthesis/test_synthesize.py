"""Step `synthesize` around its engines: what it writes, and what its command line refuses."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from cascade.config import ConfigError
from tasks.common.files import read_json, sha256_file
from tasks.data.schema import DataError, arrow_schema, read_records
from tasks.synthesis import render
from tasks.synthesis.blender_python import PYTHON
from tasks.synthesis.overrides import with_changes
from tasks.synthesis.synthesize import SynthesisPaths, synthesize
from tasks.synthesize import main
from tests.support.drawn import write_sample
from tests.support.synthesis import ROOT, Head, content, params, stand_in, write_renderer


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder laid out like the project's, with data and a stand-in renderer."""
    monkeypatch.setenv(PYTHON, sys.executable)
    script = write_renderer(tmp_path)
    monkeypatch.setattr(render, "our_renderer", lambda: stand_in(script))
    monkeypatch.chdir(tmp_path)
    write_sample(tmp_path / "data" / "pulled")
    return tmp_path


def test_output_is_complete_and_the_same_again(place: Path) -> None:
    counts = synthesize(params(), Head(0.01, 0.5))
    assert counts["roadwork"]["accepted"] + counts["roadwork"]["review"] == 6
    assert counts["none"] == {"accepted": 6, "review": 0, "near_duplicates": 0}
    first = content(place / "data" / "synthetic")
    assert first.keys() == {"accepted.parquet", "review.parquet", "manifest.json", "sheet.jpg"}
    manifest = read_json(place / "data/synthetic/manifest.json")
    assert manifest["files"] == {n: sha256_file(place / "data/synthetic" / n) for n in first if n != "manifest.json"}
    assert manifest["counts"] == read_json(place / "reports/synthesize/metrics.json") == counts
    shutil.rmtree(place / "var")
    assert synthesize(params(), Head(0.01, 0.5)) == counts
    assert content(place / "data" / "synthetic") == first
    assert not [name for name, data in first.items() if str(place).encode() in data]


def test_rows_are_the_schema_and_an_origin(place: Path) -> None:
    synthesize(params(), Head(0.01, 0.5))
    accepted = list(read_records(place / "data/synthetic/accepted.parquet"))
    review = list(read_records(place / "data/synthetic/review.parquet"))
    assert set(accepted[0]) == {*arrow_schema().names, "origin"}
    assert set(review[0]) == {*arrow_schema().names, "origin", "probability"}
    assert {row["source"] for row in accepted + review} == {"rendered"}
    assert all(row["label"] == 1 and row["probability"] == 0.01 for row in review)
    for row in accepted:
        assert {"engine", "model", "revision", "seed", "scene"} <= json.loads(row["origin"]).keys()


def test_failure_leaves_the_last_output(place: Path) -> None:
    synthesize(params(), Head(0.5))
    before = content(place / "data" / "synthetic")
    (place / "render.py").write_text("raise SystemExit('no display')")
    with pytest.raises(DataError, match="no display"):
        synthesize(params(seed=12), Head(0.5))
    assert content(place / "data" / "synthetic") == before


def test_work_of_other_settings_goes_once_its_successor_is_written(place: Path) -> None:
    synthesize(params(), Head(0.5))
    synthesize(params(seed=12), Head(0.5))
    folders = [path.name for path in (place / "var" / "synthetic").iterdir() if path.is_dir()]
    assert folders == [render.work_name(params(seed=12), stand_in(place / "render.py"))]


def test_data_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro pull_data"):
        synthesize(params(), Head(0.5), SynthesisPaths(pulled=tmp_path))


def test_options_are_checked_like_the_file() -> None:
    assert with_changes(params(), {"num_positive": 2}).num_positive == 2
    with pytest.raises(ConfigError, match=r"sdxl\.revision"):
        with_changes(params(), {"engine": "sdxl"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        # a value that nobody makes
        (["--slice", "weather=snow"], "snow"),
        # a number below none
        (["--num-positive", "-1"], "num_positive"),
        # weights that are not pinned
        (["--engine", "sdxl"], "revision"),
        # no head yet
        ([], "dvc repro probe"),
    ],
)
def test_command_line_names_what_is_wrong(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    shutil.copyfile(ROOT / "params.yaml", place / "params.yaml")
    (place / "models" / "backbone").mkdir(parents=True)
    (place / "models" / "backbone" / "manifest.json").write_text("{}")
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_slice_without_values_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--slice", "night"])
    assert "name=value" in capsys.readouterr().err
