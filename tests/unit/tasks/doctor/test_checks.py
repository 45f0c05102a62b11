"""What each check says of what it finds: its judgement, with what it reads given as values."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.config import Params, load_params
from tasks.doctor import gpu as gpu_module
from tasks.doctor import machine, records, remotes, successes, versions
from tasks.doctor.clock import Clock, judge_clock, read_clock
from tasks.doctor.finding import Finding
from tasks.doctor.gpu import Card, StageSize, judge_cards, parse_card
from tasks.doctor.registry import Context
from tasks.doctor.remotes import host_of, outputs
from tasks.doctor.schedules import judge_schedules, schedules, wanted_schedules
from tasks.doctor.successes import mined_days
from tasks.doctor.versions import RULES, Rule, locked
from tasks.release.ledger import Promotion, append
from tests.support import tiny
from tests.support.paths import ROOT

PARAMS = load_params(ROOT / "params.yaml")
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def context() -> Context:
    return Context(PARAMS, float("inf"))


def states(findings: Any) -> list[str]:
    return [one.state for one in findings]


def with_gpu(gib: float) -> Params:
    return PARAMS.model_copy(update={"memory": PARAMS.memory.model_copy(update={"gpu_gib": gib})})


# versions


def test_this_environment_has_no_versions_that_break_together() -> None:
    assert states(versions.versions(context())) == ["ok"]


@pytest.mark.parametrize(
    ("installed", "fault"),
    [
        ({"prefect": "3.8.8", "fastapi": "0.151.0"}, "fastapi 0.151.0"),  # deployments die
        ({"prefect": "3.8.8", "fastapi": "0.155"}, "fastapi 0.155"),
        ({"prefect": "3.8.8", "fastapi": "0.150.0"}, None),
        ({"fastapi": "0.155"}, None),  # no Prefect
        ({"prefect": "3.8.8", "sqlalchemy": "2.1.0"}, "sqlalchemy 2.1.0"),  # silent
        ({"fiftyone": "1.22.1", "mlflow": "3.17.2", "importlib-metadata": "8.5"}, "importlib-metadata 8.5"),
        ({"fiftyone": "1.22.1", "importlib-metadata": "8.5"}, None),  # no MLflow
        ({"opencv-python": "5.0", "opencv-python-headless": "4.14"}, "both own `cv2`"),
        ({"torch": "2.15.0", "torchvision": "0.29.2"}, None),
        ({"torch": "2.13.0", "torchvision": "0.29.2"}, "torch 2.13.0 is installed"),
        ({"torch": "2.15.0+cpu", "torchvision": "0.29.2"}, "two builds"),
        ({"onnxruntime": "1.23", "onnxruntime-gpu": "1.23"}, "both own `onnxruntime`"),
    ],
)
def test_rules_of_versions(installed: dict[str, str], fault: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise versions.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(versions, "version", version)
    found = list(versions.versions(context()))
    assert states(found) == ["error" if fault else "ok"]
    assert (fault or "") in found[0].sentence


def test_every_rule_names_packages_that_the_project_locks() -> None:
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    for rule in RULES:
        assert isinstance(rule, Rule)
        for name in (*rule.when, rule.needs):
            assert f'name = "{versions.Requirement(name).name}"' in lock


def test_other_versions_than_those_of_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "uv.lock"
    lock.write_text('[[package]]\nname = "pydantic"\nversion = "0.0.1"\n[[package]]\nname = "absent"\nversion = "1"\n')
    found = next(iter(locked(context(), lock)))
    assert found.state == "warning"
    assert "instead of 0.0.1" in found.sentence
    assert states(locked(context(), tmp_path / "none")) == ["not asked"]


# machine


@pytest.mark.parametrize(
    ("free", "least", "state"), [(0.5, 1, "error"), (5, 1, "warning"), (50, 1, "ok"), (50, 100, "error")]
)
def test_disk(free: float, least: float, state: str) -> None:
    assert machine._space(Path("var"), free, least).state == state


@pytest.mark.parametrize(
    ("clock", "state"),
    [
        (None, "not asked"),
        (Clock(kept=False, offset=0, error=16), "not asked"),
        (Clock(kept=True, offset=0.002, error=0.05), "ok"),
        (Clock(kept=True, offset=-3.0, error=0.05), "warning"),
        (Clock(kept=True, offset=0.0, error=5.0), "warning"),
    ],
)
def test_clock(clock: Clock | None, state: str) -> None:
    assert judge_clock(clock).state == state


def test_the_kernel_is_asked_and_not_changed() -> None:
    found = read_clock()
    assert found is None or found.error >= 0


def test_a_line_of_nvidia_smi() -> None:
    card = parse_card("NVIDIA H100 80GB HBM3, 81559, 81000, 570.86.15")
    assert (card.name, round(card.total), card.driver) == ("NVIDIA H100 80GB HBM3", 80, "570.86.15")


CARD = Card("L4", 24, 20, "570")


@pytest.mark.parametrize(
    ("cards", "gib", "stages", "expected"),
    [
        ([], 0, [], ["ok"]),
        ([], 24, [], ["error"]),  # the profile wants one
        ([], 0, [StageSize("vlm", "cuda", 8)], ["error"]),  # the release wants one
        ([CARD], 0, [], ["warning"]),  # nobody uses it
        ([CARD], 16, [], ["ok"]),
        ([CARD], 22, [], ["warning"]),  # another program has it
        ([CARD], 40, [], ["error"]),
        ([Card("small", 8, 8, "1"), CARD], 16, [], ["ok"]),  # the one with the most room counts
        ([CARD], 16, [StageSize("classifier", "cuda", 1), StageSize("vlm", "cuda", 8.5)], ["ok", "ok"]),
        ([CARD], 8, [StageSize("classifier", "cuda", 1), StageSize("vlm", "cuda", 7.5)], ["ok", "warning"]),
        ([CARD], 8, [StageSize("vlm", "cuda", 8.5)], ["ok", "error"]),
        ([CARD], 8, [StageSize("vlm", "cuda", None)], ["ok", "not asked"]),
        ([CARD], 8, [StageSize("ocr", "cpu", 80)], ["ok"]),
    ],
)
def test_what_fits_a_gpu(cards: list[Card], gib: float, stages: list[StageSize], expected: list[str]) -> None:
    assert states(judge_cards(cards, with_gpu(gib), stages)) == expected


@pytest.mark.parametrize(
    ("gpu_stages", "expected"),
    [
        # a profile that wants none on the card
        ((), ["ok"]),
        # the tiny champion computes on the processor
        (("classifier",), ["ok", "warning"]),
        # it has no such stage
        (("vlm",), ["ok"]),
    ],
)
def test_a_champion_that_is_not_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu_stages: tuple[str, ...], expected: list[str]
) -> None:
    release = tiny.write_release(tmp_path)
    sizes = tmp_path / "sizes.json"
    sizes.write_text(json.dumps({f"{release.id}/classifier": 1 << 30}))
    monkeypatch.setattr(gpu_module, "RELEASES", tmp_path / "releases")
    monkeypatch.setattr(gpu_module, "SIZES", sizes)
    monkeypatch.setattr(gpu_module, "read_cards", lambda: [CARD])
    memory = PARAMS.memory.model_copy(update={"gpu_gib": 16, "gpu_stages": gpu_stages})
    found = list(gpu_module.gpu(Context(PARAMS.model_copy(update={"memory": memory}), float("inf"))))
    assert states(found) == expected
    assert all("classifier (onnxruntime cpu fp32): on the processor" in one.sentence for one in found[1:])


# MLflow's store, as far as it is seen without one


@pytest.mark.parametrize(
    ("uri", "promoted", "state"),
    [
        ("file:mlruns", False, "error"),
        ("./mlruns", True, "error"),
        ("sqlite:///var/mlflow.db", False, "not asked"),
        ("sqlite:///var/mlflow.db", True, "warning"),  # the file is gone
        ("http://127.0.0.1:5000", True, "not asked"),
    ],
)
def test_stores(uri: str, promoted: bool, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if promoted:
        append(Promotion(when="2026-11-22T00:00:00+00:00", who="me", why="test", release="a", previous=None))
    stores = PARAMS.stores.model_copy(update={"mlflow": uri})
    assert states(records.alias(Context(PARAMS.model_copy(update={"stores": stores}), float("inf")))) == [state]


# DVC's remotes


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository with one output and a remote in a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    lock = {"stages": {"train": {"outs": [{"path": "models/head", "md5": "ab" * 16}]}}}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock))
    (tmp_path / "data/hard_cases").mkdir(parents=True)
    (tmp_path / "data/hard_cases/2026-11-26.dvc").write_text("outs:\n- md5: cdcd\n  path: 2026-11-26\n")
    return tmp_path


def remote(folder: Path, url: str) -> None:
    (folder / ".dvc/config").write_text(f"['remote \"store\"']\n    url = {url}\n")


def push(store: Path, *digests: str) -> None:
    for one in digests:
        path = store / "files/md5" / one[:2] / one[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def test_no_remote(repository: Path) -> None:
    (repository / ".dvc/config").write_text("")
    assert states(remotes.remotes(context())) == ["warning"]


@pytest.mark.parametrize(
    ("pushed", "state", "words"),
    [
        (None, "error", "no such folder"),
        ([], "warning", "lacks 2 of 2 outputs: 2026-11-26, models/head"),
        (["ab" * 16], "warning", "lacks 1 of 2"),
        (["ab" * 16, "cdcd"], "ok", "has all outputs"),
    ],
)
def test_a_folder_as_remote(pushed: list[str] | None, state: str, words: str, repository: Path) -> None:
    store = repository / "store"
    if pushed is not None:
        store.mkdir()
        push(store, *pushed)
    remote(repository, "../store")
    found = list(remotes.remotes(context()))
    assert states(found) == [state]
    assert words in found[0].sentence


@pytest.mark.parametrize(
    ("url", "endpoint", "host"),
    [
        ("s3://bucket/path", None, ("s3.amazonaws.com", 443)),
        ("s3://bucket/path", "http://127.0.0.1:9000", ("127.0.0.1", 9000)),
        ("https://example.org/x", None, ("example.org", 443)),
        ("ssh://me@example.org/x", None, ("example.org", 22)),
        ("gs://bucket/path", None, None),  # its address does not say
    ],
)
def test_host_of_a_cloud(url: str, endpoint: str | None, host: tuple[str, int] | None) -> None:
    assert host_of(url, endpoint) == host


def test_a_cloud_that_is_down(repository: Path) -> None:
    remote(repository, "http://127.0.0.1:1/x")
    found = list(remotes.remotes(context()))
    assert states(found) == ["error"]
    assert "127.0.0.1:1 cannot be reached" in found[0].sentence


def test_a_cloud_that_does_not_answer_in_time(repository: Path) -> None:
    remote(repository, "gs://bucket/path")
    late = Context(PARAMS, 0.0)
    assert states(remotes.remotes(late)) == ["not asked"]


@pytest.mark.slow
def test_dvc_is_asked_of_a_cloud(repository: Path) -> None:
    """A server of ours on loopback: at first it has nothing, then all."""
    (repository / ".dvc/config").write_text("")
    for words in (["init", "--no-scm", "-f", "-q"], ["remote", "add", "-d", "folder", str(repository / "store")]):
        subprocess.run([sys.executable, "-m", "dvc", *words], check=True, capture_output=True)
    (repository / "dvc.lock").unlink()
    (repository / "data/hard_cases/2026-11-26.dvc").unlink()
    (repository / "data/a.txt").write_text("a")
    subprocess.run([sys.executable, "-m", "dvc", "add", "-q", "data/a.txt"], check=True, capture_output=True)
    (repository / "served").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(repository / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        for words in (["remote", "add", "cloud", url], ["push", "-q"]):
            subprocess.run([sys.executable, "-m", "dvc", *words], check=True, capture_output=True)
        first = {one.sentence.split()[1]: one.state for one in remotes.remotes(Context(PARAMS, time.monotonic() + 60))}
        shutil.copytree(repository / "store", repository / "served", dirs_exist_ok=True)
        then = {one.sentence.split()[1]: one.state for one in remotes.remotes(Context(PARAMS, time.monotonic() + 60))}
        server.shutdown()
    assert (first, then) == ({"folder": "ok", "cloud": "warning"}, {"folder": "ok", "cloud": "ok"})


def test_outputs_of_the_project() -> None:
    assert "models/backbone" in outputs(ROOT / "dvc.lock").values()


# schedules


def deployment(name: str = "retrain", *, paused: bool = False, active: bool = True) -> dict[str, Any]:
    return {"id": name, "name": name, "paused": paused, "schedules": [{"active": active}]}


def flow_run(name: str, hours: float, state: str = "SCHEDULED") -> dict[str, Any]:
    when = (NOW + timedelta(hours=hours)).isoformat()
    return {"deployment_id": name, "name": "run", "state_type": state, "expected_start_time": when, "end_time": when}


@pytest.mark.parametrize(
    ("deployments", "runs", "ended", "expected"),
    [
        ([deployment()], [flow_run("retrain", 5)], [], [("ok", "2026-11-27 17:00")]),
        ([], [], [], [("error", "does not know it")]),  # never deployed
        ([deployment()], [], [], [("error", "no run is planned")]),  # as with SQLAlchemy 2.1
        ([deployment()], [flow_run("retrain", -1)], [], [("error", "no worker")]),
        ([deployment(paused=True)], [], [], [("warning", "paused")]),
        ([deployment(active=False)], [], [], [("warning", "paused")]),
        ([deployment(), {"id": "x", "name": "promote", "schedules": []}], [flow_run("retrain", 5)], [], [("ok", "")]),
        (
            [deployment()],
            [flow_run("retrain", 5)],
            [flow_run("retrain", -9, "CRASHED"), flow_run("retrain", -20, "COMPLETED")],
            [("ok", ""), ("warning", "crashed")],
        ),
        (
            [deployment()],
            [flow_run("retrain", 5)],
            [flow_run("retrain", -9, "COMPLETED"), flow_run("retrain", -20, "FAILED")],
            [("ok", ""), ("ok", "last success")],
        ),
    ],
)
def test_schedules(deployments: Any, runs: Any, ended: Any, expected: list[tuple[str, str]]) -> None:
    found = list(judge_schedules(deployments, runs, ended, {"retrain"}, NOW))
    assert states(found) == [state for state, _ in expected]
    for one, (_, words) in zip(found, expected, strict=True):
        assert words in one.sentence + one.remedy


def test_schedules_of_the_project() -> None:
    assert {"retrain", "mine-daily"} <= wanted_schedules(ROOT / "prefect.yaml")


@pytest.mark.parametrize(("named", "state"), [(False, "not asked"), (True, "error")])
def test_a_server_that_does_not_answer(named: bool, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_PORT", "1")
    monkeypatch.delenv("STREETVISION_PREFECT_API_URL", raising=False)
    if named:
        monkeypatch.setenv("STREETVISION_PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert states(schedules(context())) == [state]


# what was last done


def test_days_of_mining(tmp_path: Path) -> None:
    batches, drift = tmp_path / "hard_cases", tmp_path / "drift"
    assert mined_days(batches, drift) == []
    (batches / "2026-11-20").mkdir(parents=True)
    (batches / "2026-11-21.dvc").write_text("")
    (batches / "notes").mkdir()
    drift.mkdir()
    (drift / "a.json").write_text(json.dumps({"figures": {"2026-11-25": 0.1}}))
    (drift / "damaged.json").write_text("{")
    assert max(mined_days(batches, drift)) == date(2026, 11, 25)
    assert len(mined_days(batches, drift)) == 3


@pytest.mark.parametrize(("days", "state"), [(0, "ok"), (2, "ok"), (3, "warning"), (None, "not asked")])
def test_age_of_mining(days: int | None, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if days is not None:
        day = datetime.now(UTC).date() - timedelta(days=days)
        (tmp_path / "data/hard_cases" / day.isoformat()).mkdir(parents=True)
    assert states(successes.mining(context())) == [state]


def test_a_key_file_that_others_read(tmp_path: Path) -> None:
    from tasks.doctor.parameters import service_key

    file = tmp_path / "keys.yaml"
    file.write_text(f"me: {{sha256: {'a' * 64}}}\n")
    serve = PARAMS.serve.model_copy(update={"key_file": file, "host": "0.0.0.0"})  # noqa: S104
    open_context = Context(PARAMS.model_copy(update={"serve": serve}), float("inf"))
    os.chmod(file, 0o644)  # noqa: PTH101
    assert states(service_key(open_context)) == ["ok", "warning"]
    os.chmod(file, 0o600)  # noqa: PTH101
    assert states(service_key(open_context)) == ["ok"]
    no_key = Context(PARAMS.model_copy(update={"serve": serve.model_copy(update={"key_file": None})}), float("inf"))
    found: list[Finding] = list(service_key(no_key))
    assert states(found) == ["error"]
