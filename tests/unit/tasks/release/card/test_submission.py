"""What a promotion writes for the subnet: card and registration, or nothing, and never an end of the promotion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cascade.release.store import Release
from tasks.config import load_params
from tasks.config.clock import SubmissionParams
from tasks.release.card.submission import REGISTRATION, own_version, write_submission
from tasks.release.card.subnet import FILE, CardError, read_card
from tasks.release.promotion import doors
from tasks.release.promotion.gating import REPORTS
from tasks.tools import card
from tests.support import tiny
from tests.support.paths import ROOT

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
NOW = 1764212400.7


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return tiny.write_release(tmp_path)


def submission(**given: Any) -> SubmissionParams:
    return SubmissionParams.model_validate({"submitted_by": ALICE, **given})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"submitted_by": None}, []),  # nobody mines
        ({}, [FILE]),
        ({"uid": 7}, [FILE]),  # no repository yet
        ({"uid": 0, "repository": "me/roadwork"}, [FILE, REGISTRATION]),  # 0 is a uid
    ],
)
def test_what_is_written(given: Any, names: list[str], release: Release, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    assert [path.name for path in write_submission(folder, release, submission(**given), NOW)] == names


@pytest.mark.parametrize(("unit", "time"), [("seconds", 1764212400), ("milliseconds", 1764212400700)])
def test_both_forms_of_time(unit: str, time: int, release: Release, tmp_path: Path) -> None:
    write_submission(tmp_path / "r", release, submission(time_unit=unit), NOW)
    found = read_card((tmp_path / "r" / FILE).read_bytes())
    assert found.submission_time == time
    assert int(found.submitted_at.timestamp()) == 1764212400
    assert found.version == own_version()
    assert release.id in str(found.notes)


def test_a_card_stays_unless_it_is_of_another_hotkey(release: Release, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    write_submission(folder, release, submission(), NOW)
    assert write_submission(folder, release, submission(), NOW + 9e6) == []
    assert write_submission(folder, release, submission(submitted_by=BOB), NOW + 9e6) != []
    (folder / FILE).write_text("{")
    assert write_submission(folder, release, submission(), NOW) != []


@pytest.mark.parametrize("hotkey", [ALICE[:-1] + "Z", "twelve words of a wallet", ""])
def test_what_is_no_hotkey_is_refused(hotkey: str, release: Release, tmp_path: Path) -> None:
    with pytest.raises(CardError, match="ss58"):
        write_submission(tmp_path / "r", release, submission(submitted_by=hotkey), NOW)


def test_a_card_that_cannot_be_written_ends_no_promotion(release: Release) -> None:
    params = load_params().model_copy(update={"submission": submission(submitted_by="no hotkey")})
    said: list[str] = []
    doors._tell_the_subnet(params, release, said.append)
    assert len(said) == 1
    assert "no model card is written" in said[0]
    assert not (REPORTS / release.id / FILE).exists()


def test_commands(release: Release, tmp_path: Path) -> None:
    run = CliRunner()
    assert run.invoke(card.app, ["write"]).exit_code == 1  # no release is champion
    folder = str(release.folder)
    assert run.invoke(card.app, ["write", folder]).exit_code == 1  # no hotkey
    assert run.invoke(card.app, ["write", folder, "--hotkey", "x"]).exit_code == 1
    written = run.invoke(card.app, ["write", folder, "--hotkey", ALICE, "--version", "2.0.0"])
    assert written.exit_code == 0, written.output
    path = REPORTS / release.id / FILE
    assert json.loads(path.read_text())["version"] == "2.0.0"
    assert run.invoke(card.app, ["check", str(path)]).exit_code == 0
    assert run.invoke(card.app, ["check", str(path), "--hotkey", BOB]).exit_code == 1
    assert run.invoke(card.app, ["check", str(tmp_path / "none")]).exit_code == 1
