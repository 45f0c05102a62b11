"""`streetvision data check` from the outside: files in, table, sheet and exit code out."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from cascade import cli
from tasks.tools.data_check import app
from tests.support.doctor import sound_rows
from tests.support.drawn import dataset, encode, row, street, write_parquet, write_sample
from tests.support.natix import write_natix
from tests.support.paths import ROOT

Check = Callable[..., Result]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: CliRunner().invoke(app, ["check", *map(str, arguments)])


def findings(done: Result) -> set[tuple[str, str]]:
    return {(one["level"], one["check"]) for one in json.loads(done.stdout)["findings"]}


def test_it_is_a_command_of_streetvision() -> None:
    """The installed command with its own arguments, as the entry point of pyproject.toml finds it."""
    done = CliRunner().invoke(cli.app, ["data", "check", "--help"])
    assert (done.exit_code, "--against" in done.stdout) == (0, True), done.output


def test_a_set_is_looked_at_from_the_shell(tmp_path: Path) -> None:
    """In a process of its own, through the program that people call."""
    program = Path(sys.executable).with_name("streetvision")
    data, sheet = ROOT / "data" / "sample" / "pool.parquet", tmp_path / "sheet.jpg"
    command = [str(program), "data", "check", str(data), "--sheet", str(sheet), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["pictures"] > 100


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder / "nowhere",
        lambda folder: folder,
        lambda folder: write_parquet(folder / "a.parquet", [row(1, 1).to_record()], drop=["label"]),
    ],
)
def test_what_cannot_be_read_is_one_line(check: Check, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (tmp_path / "set").mkdir()
    done = check(make(tmp_path / "set"))
    assert done.exit_code == 1
    assert done.stderr.startswith("data check: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_sound_set_is_quiet(check: Check, tmp_path: Path) -> None:
    rows = sound_rows({"train": 60, "calibration": 30, "challenge": 30})
    done = check(write_sample(tmp_path / "set", rows), "--json")
    assert (done.exit_code, findings(done)) == (0, set())
    assert not (tmp_path / "data-check.jpg").exists()


@pytest.mark.slow
def test_the_committed_sample_is_sound(check: Check) -> None:
    done = check(ROOT / "data" / "sample", "--json")
    assert (done.exit_code, findings(done)) == (0, set())


def test_natix_is_sorted_and_four_fifths_roadwork_which_is_no_error(check: Check, tmp_path: Path) -> None:
    done = check(write_natix(tmp_path / "natix"), "--json")
    assert done.exit_code == 0
    assert {("warning", "prior"), ("warning", "order")} <= findings(done)


def test_a_source_that_gives_the_label_away(check: Check, tmp_path: Path) -> None:
    for number in range(60):
        label = number % 2
        folder = tmp_path / "set" / ("roadwork" if label else "clear")
        folder.mkdir(parents=True, exist_ok=True)
        # photographs of two collections: one has been resized, the other names its camera
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = ("Apple", "iPhone 15") if label else ("", "")
        picture = street(number)[0].resize((320, 240) if label else (400, 300))
        (folder / f"{number}.jpg").write_bytes(encode(picture, exif=exif))
    done = check(tmp_path / "set", "--json", "--sheet", tmp_path / "sheet.jpg")
    assert done.exit_code == 1
    assert ("error", "source") in findings(done)
    alone = json.loads(done.stdout)["label_from_source"]["alone"]
    assert alone["camera"] > 0.95
    assert alone["image size"] > 0.95
    assert Image.open(tmp_path / "sheet.jpg").format == "JPEG"
    assert f"8 doubtful pictures: {tmp_path / 'sheet.jpg'}" in done.stderr


def test_a_planted_near_duplicate_across_splits(check: Check, tmp_path: Path) -> None:
    rows = dataset()
    copy = encode(Image.open(io.BytesIO(rows[3].data)), quality=50)
    write_sample(tmp_path / "set", [*rows, row(6000, rows[3].label, "challenge", data=copy)])
    done = check(tmp_path / "set", "--json")
    assert done.exit_code == 1
    assert ("error", "near-duplicates") in findings(done)
    (message,) = [one["message"] for one in json.loads(done.stdout)["findings"] if one["check"] == "near-duplicates"]
    assert "train: 3.jpg" in message
    assert "challenge: 6000.jpg" in message


@pytest.mark.parametrize("kind", ["folder", "parquet without labels"])
def test_a_second_set_that_shares_a_picture(check: Check, tmp_path: Path, kind: str) -> None:
    rows = dataset()
    write_sample(tmp_path / "set", rows)
    other = tmp_path / "ROADWork"
    copy = row(8000, 0, data=encode(Image.open(io.BytesIO(rows[5].data)), quality=60))
    if kind == "folder":
        (other / "images").mkdir(parents=True)
        (other / "images" / "a.jpg").write_bytes(copy.data)
        (other / "images" / "b.jpg").write_bytes(encode(street(8001)[0]))
    else:
        write_parquet(other / "x.parquet", [copy.to_record(), row(8001, 0).to_record()], drop=["label"])
    done = check(tmp_path / "set", "--against", other, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["against"] == {"name": str(other), "pictures": 2, "shared": 1}
    assert ("error", "near-duplicates") in findings(done)


def test_the_table_fits_80_columns(check: Check, tmp_path: Path) -> None:
    done = check(write_natix(tmp_path / "natix"))
    assert "Findings" in done.stdout
    assert "80.0 %" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_damaged_files_are_counted_by_reason(check: Check, tmp_path: Path) -> None:
    rows = dataset()
    cut = row(7000, 1, "train", data=rows[0].data[:2000])
    write_sample(tmp_path / "set", [*rows, cut, row(7001, 0, "train", data=b"")])
    done = check(tmp_path / "set", "--json")
    assert json.loads(done.stdout)["left_out"] == {"truncated": 1, "empty": 1}
    assert ("warning", "left out") in findings(done)
    assert done.exit_code == 0
