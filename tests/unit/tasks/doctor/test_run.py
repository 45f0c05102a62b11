"""Checks run beside each other; one that raises or hangs is a finding, and the others are still heard."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasks.config import load_params
from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import MINER_MODULES, MODULES, Check, Context, check, checks
from tasks.doctor.run import run_checks
from tasks.doctor.show import counts, document, worst_first
from tasks.tools import doctor
from tests.support.paths import ROOT

PARAMS = load_params(ROOT / "params.yaml")


def good(context: Context) -> Iterator[Finding]:
    yield ok("well")
    yield warning("not quite", "mend it")


def raises(context: Context) -> Iterator[Finding]:
    yield ok("so far")
    raise OSError("no\nsuch thing")


def hangs(context: Context) -> Iterator[Finding]:
    threading.Event().wait(30)
    yield ok("late")


def exits(context: Context) -> Iterator[Finding]:
    raise SystemExit(3)
    yield ok("never")


def run(*functions: object, seconds: float = 2.0, params: object = PARAMS) -> list[Finding]:
    found = [Check(one.__name__, "test", one, one is needy) for one in functions]  # type: ignore[attr-defined,arg-type]
    return run_checks(found, Context(params, time.monotonic() + seconds))  # type: ignore[arg-type]


def needy(context: Context) -> Iterator[Finding]:
    yield ok(context.needed.profile)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (raises, "OSError: no such thing"),
        (exits, "SystemExit"),
        (hangs, "no answer after"),
    ],
)
def test_a_broken_check_is_a_finding(broken: object, words: str) -> None:
    begun = time.monotonic()
    found = run(good, broken, good, seconds=1.0)
    assert time.monotonic() - begun < 3
    assert [one.state for one in found] == ["ok", "warning", "error", "ok", "warning"]
    assert words in found[2].sentence
    assert found[2].remedy
    assert found[2].check == broken.__name__  # type: ignore[attr-defined]


def test_without_parameters_the_others_still_run() -> None:
    found = run(needy, good, params=None)
    assert [one.state for one in found] == ["not asked", "ok", "warning"]
    assert run(needy)[0].sentence == "sample"


@pytest.mark.parametrize("make", [warning, error])
def test_a_finding_needs_a_remedy(make: object) -> None:
    with pytest.raises(ValueError, match="needs a remedy"):
        make("bad", "")  # type: ignore[operator]


def test_the_worst_comes_first() -> None:
    found = [ok("a"), not_asked("b"), warning("c", "r"), error("d", "r"), ok("e")]
    assert [one.sentence for one in worst_first(found)] == ["d", "c", "b", "a", "e"]
    assert counts(found) == {"error": 1, "warning": 1, "not asked": 1, "ok": 2}
    assert document(found, 1.234)["seconds"] == 1.23


def test_the_registry_has_a_check_of_each_module() -> None:
    for miner, modules in ((False, MODULES), (True, MINER_MODULES)):
        found = checks(miner=miner)
        assert list(dict.fromkeys(one.group for one in found)) == list(modules)
        assert len({one.name for one in found}) == len(found)


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="two checks"):
        check("versions")(good)


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder: params.yaml is missing, which is an error, and all that needs it is not asked."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(doctor.app, ["--json"])
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    by_check = {one["check"]: one for one in found["findings"]}
    assert by_check["params.yaml"]["state"] == "error"
    assert "run from the project's root" in by_check["params.yaml"]["sentence"]
    assert by_check["GPU"]["state"] == "not asked"
    assert by_check["disk"]["sentence"] == "params.yaml cannot be read"
    assert not [one for one in found["findings"] if one["sentence"].startswith("the check itself failed")]
    assert found["seconds"] < 12


def test_table_says_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(doctor.app, ["--miner"])
    assert done.exit_code == 0, done.stdout
    assert "not asked" in done.stdout
    assert "→" in done.stdout
