"""`/v1/releases`: what it takes from the gate's reports and the ledger, and what it leaves out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cascade.api.app import create_app
from cascade.api.auth import KEY_VARIABLE
from cascade.api.releases import CANDIDATES, GATES, LINES, describe_releases
from cascade.config import ServeParams
from cascade.release.store import Release
from tasks.release.gate.report import Comparison, Fault, Figure, GateReport
from tasks.release.ledger import LEDGER, Promotion, append
from tasks.release.promotion.gating import REPORTS
from tests.support import tiny

OTHER, THIRD = "a" * 12, "b" * 12
WHEN = "2026-11-27T05:42:21+00:00"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny.write_release(tmp_path_factory.mktemp("root"))


def report(challenger: str, champion: str | None, **more: Any) -> GateReport:
    figure = Figure(value=0.1, low=-0.1, high=0.3)
    given = {
        "verdict": "better",
        "failures": (),
        "faults": (Fault(check="tampered", text="/srv/releases/x: altered"),),
        "passes": True,
        "reason": "tampered: /srv/releases/x: altered",
        "override": "Ann said so",
        "when": WHEN,
        "comparisons": (Comparison(name="mcc", challenger=figure, champion=figure, difference=figure, margin=0.02),),
    }
    return GateReport.model_validate({"challenger": challenger, "champion": champion, **given, **more})


def write(folder: Path, name: str, text: str, age: int = 0) -> None:
    file = folder / name / "gate.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    os.utime(file, (1e9 - age, 1e9 - age))


def test_reports_are_read_as_the_pipeline_writes_them(release: Release, tmp_path: Path) -> None:
    """Without texts that may name people or paths."""
    write(tmp_path, release.id, report(release.id, OTHER).model_dump_json())
    found = describe_releases(release, tmp_path, None)
    (gate,) = found.gates
    assert (gate.challenger, gate.champion, gate.verdict, gate.passes) == (release.id, OTHER, "better", True)
    (measure,) = gate.comparisons
    assert (measure.name, measure.difference.low, measure.margin) == ("mcc", -0.1, 0.02)
    text = found.model_dump_json()
    assert "/srv" not in text
    assert "Ann" not in text
    assert {name: figure.value for name, figure in found.figures.items()} == tiny.METRICS


# by case: name of the folder, content
DAMAGED = {
    "not JSON": "{",
    "a list": "[]",
    "another shape": json.dumps({"challenger": 1}),
    "nested for ever": "[" * 100_000,
    "not UTF-8": "\udcff",
    "empty": "",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_what_is_damaged_is_left_out(release: Release, tmp_path: Path, text: str) -> None:
    write(tmp_path, OTHER, "")
    (tmp_path / OTHER / "gate.json").write_bytes(text.encode(errors="surrogateescape"))
    write(tmp_path, release.id, report(release.id, None, verdict="first").model_dump_json())
    ledger = tmp_path / "ledger.jsonl"
    append(Promotion(when=WHEN, who="Ann", why="because", release=release.id, previous=OTHER), ledger)
    with ledger.open("ab") as file:
        file.write(text.encode(errors="surrogateescape"))
    found = describe_releases(release, tmp_path, ledger)
    assert [gate.verdict for gate in found.gates] == ["first"]
    assert [(change.release, change.previous) for change in found.changes] == [(release.id, OTHER)]
    assert "Ann" not in found.model_dump_json()


@pytest.mark.parametrize("there", [False, None])
def test_a_service_alone_has_its_own_figures(release: Release, tmp_path: Path, there: bool | None) -> None:
    missing = None if there is None else tmp_path / "nowhere"
    found = describe_releases(release, missing, missing)
    assert (found.gates, found.changes) == ([], [])
    assert found.figures


def test_only_comparisons_with_the_live_release_count_and_the_newest_come_first(
    release: Release, tmp_path: Path
) -> None:
    write(tmp_path, THIRD, report(THIRD, OTHER).model_dump_json())
    write(tmp_path, release.id, report(release.id, OTHER, when="2026-11-01T00:00:00+00:00").model_dump_json(), age=9)
    write(tmp_path, "refused", report(THIRD, release.id, verdict="worse", passes=False).model_dump_json(), age=5)
    gates = describe_releases(release, tmp_path, None).gates
    assert [(gate.challenger, gate.verdict) for gate in gates] == [(THIRD, "worse"), (release.id, "better")]


def test_an_answer_is_bounded(release: Release, tmp_path: Path) -> None:
    for number in range(CANDIDATES + GATES):
        write(tmp_path, f"{number}", report(f"{number:012d}", release.id).model_dump_json(), age=number)
        append(Promotion(when=f"{number}", who="", why="", release=OTHER, previous=None), tmp_path / "ledger.jsonl")
    found = describe_releases(release, tmp_path, tmp_path / "ledger.jsonl")
    assert len(found.gates) == GATES
    newest = CANDIDATES + GATES - 1
    assert [change.when for change in found.changes] == [f"{number}" for number in range(newest, newest - LINES, -1)]


def test_the_defaults_are_where_the_pipeline_writes() -> None:
    serve = ServeParams(host="127.0.0.1", port=0, max_images=1, max_bytes=1, deadline_seconds=1)
    assert (serve.gate_reports, serve.ledger) == (REPORTS, LEDGER)


def test_the_route_needs_the_key(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    params = tiny.runtime_params(serve={"gate_reports": None, "ledger": None})
    client = TestClient(create_app(release, params))
    assert client.get("/v1/releases").status_code == 401
    found = client.get("/v1/releases", headers={"Authorization": "Bearer secret"})
    assert found.json()["release"] == release.id
