"""The doctor beside a real service, ledger and MLflow: what it says when all is well, and when a part is not."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from cascade.api.process import STATE, status
from cascade.release.store import CHAMPION, RELEASES
from tasks.config import load_params
from tasks.doctor.finding import Finding
from tasks.doctor.miner.latency import histogram_p99
from tasks.doctor.registry import Context, MinerOptions, checks
from tasks.doctor.run import run_checks
from tasks.release.card.submission import REGISTRATION
from tasks.release.card.subnet import FILE, read_card
from tasks.release.ledger import LEDGER
from tasks.release.promotion.gating import REPORTS
from tasks.release.registry import move_champion
from tasks.release.tracking import connect
from tests.support import promotion, tiny
from tests.support.promotion import build, make_project

pytestmark = pytest.mark.integration

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
SUBMISSION = {"submitted_by": ALICE, "repository": "me/roadwork", "uid": 7}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[str]:
    """A folder whose release is live, without nginx; gives the release."""
    before = Path.cwd()
    folder = make_project(tmp_path_factory.mktemp("doctor"), mlflow_database, front="none")
    os.chdir(folder)
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    Path("params.yaml").write_text(yaml.safe_dump(params | {"submission": SUBMISSION}), encoding="utf-8")
    try:
        made = build(0.9)
        promotion.promote(made)
        yield made.id
    finally:
        promotion.stop_all()
        os.chdir(before)


def found(*names: str, miner: bool = False) -> dict[str, list[Finding]]:
    """Findings by check, of some checks."""
    chosen = [one for one in checks(miner=miner) if one.name in names]
    assert len(chosen) == len(names)
    context = Context(load_params(), time.monotonic() + 60, MinerOptions() if miner else None)
    results = run_checks(chosen, context)
    return {name: [one for one in results if one.check == name] for name in names}


def states(*names: str, miner: bool = False) -> list[str]:
    return [one.state for many in found(*names, miner=miner).values() for one in many]


def test_all_is_well_after_a_promotion(release: str) -> None:
    names = ("champion", "service", "ledger", "MLflow alias", "model age")
    results = found(*names)
    assert {one.state for many in results.values() for one in many} == {"ok"}, results
    assert release in results["service"][0].sentence
    # a few requests of the watch alone
    assert states("engine", "time-out margin", miner=True) == ["ok", "not asked"]


def test_the_promotion_has_written_card_and_registration(release: str) -> None:
    card = read_card((REPORTS / release / FILE).read_bytes())
    assert (card.submitted_by, release in str(card.notes)) == (ALICE, True)
    assert abs(card.submitted_at.timestamp() - time.time()) < 600
    document = json.loads((REPORTS / release / REGISTRATION).read_text(encoding="utf-8"))
    assert (document["uid"], document["model_repo"], document["type"]) == ("7", "me/roadwork", "miner")
    assert document["natix_signature"] is None
    assert states("model card", miner=True) == ["ok", "ok"]


def test_a_second_promotion_makes_the_model_no_younger(release: str) -> None:
    before = (REPORTS / release / FILE).read_bytes()
    promotion.promote(promotion.load(release))
    assert (REPORTS / release / FILE).read_bytes() == before


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def test_an_expired_card_is_found(release: str) -> None:
    path = REPORTS / release / FILE
    document = json.loads(path.read_text(encoding="utf-8"))
    document["submission_time"] = int((time.time() - 91 * 86400) * 1000)
    with changed(path, json.dumps(document).encode()):
        assert states("model card", miner=True) == ["ok", "error"]


def test_an_old_promotion_is_found(release: str) -> None:
    line = json.loads(LEDGER.read_text(encoding="utf-8").splitlines()[0])
    with changed(LEDGER, json.dumps({**line, "when": "2026-01-01T00:00:00+00:00"}).encode() + b"\n"):
        assert states("model age") == ["error"]


def test_an_alias_that_went_away_is_found(release: str) -> None:
    params = load_params()
    connect(params).delete_registered_model_alias(params.register_.model, "champion")
    try:
        assert states("MLflow alias") == ["error"]
    finally:
        move_champion(params, release)
    assert states("MLflow alias") == ["ok"]


def test_a_pointer_beside_the_ledger_is_found(release: str) -> None:
    link = RELEASES / CHAMPION
    link.unlink()
    try:
        assert states("ledger", "champion") == ["error", "not asked"]
    finally:
        link.symlink_to(release)


def test_a_damaged_champion_is_found(release: str) -> None:
    path = RELEASES / release / "manifest.json"
    with changed(path, b"{}"):
        assert states("champion") == ["error"]


def test_latencies_of_the_log(release: str) -> None:
    live = status()
    assert live
    picture = tiny.encoded(tiny.street(tiny.ORANGE))
    with httpx.Client(base_url=live.address, trust_env=False, timeout=30) as client:
        for _ in range(20):
            client.post("/v1/predict", files=[("files", ("a.jpg", picture))]).raise_for_status()
        metrics = histogram_p99(client.get("/metrics").text)
    assert metrics is not None
    assert metrics[1] >= 20
    result = found("time-out margin", miner=True)["time-out margin"][0]
    assert result.state == "ok"
    assert "answers of the last day" in result.sentence


def test_a_service_that_has_ended_is_found(release: str) -> None:
    """The last one: it ends the service."""
    live = status()
    assert live
    # the note names another release
    with changed(STATE, live.model_copy(update={"release": "0" * 12}).model_dump_json().encode()):
        assert states("service") == ["error"]
    promotion.stop_all()
    assert states("service") == ["warning"]
    assert states("engine", "time-out margin", miner=True) == ["not asked", "not asked"]
