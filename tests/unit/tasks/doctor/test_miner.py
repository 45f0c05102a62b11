"""What the miner's checks find: address, port, registration, latency, engine, card, and keys in files and history."""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from typer.testing import CliRunner

from cascade.stages.describe import StageStatus
from tasks.config.clock import ClockParams, SubmissionParams
from tasks.doctor.miner import network
from tasks.doctor.miner.engine import judge_engine
from tasks.doctor.miner.latency import HISTOGRAM, histogram_p99, judge_latency, percentile, recent_seconds
from tasks.doctor.miner.metagraph import Member, Metagraph, MetagraphError, parse
from tasks.doctor.miner.model import card_findings
from tasks.doctor.miner.network import judge_address, own_addresses, split_axon
from tasks.doctor.miner.registration import judge_registration
from tasks.release.card.subnet import FILE
from tasks.tools import card, doctor
from tests.support.paths import ROOT
from tests.support.wallets import phrase, repository

# Alice and Bob, the development accounts that every Substrate node knows
ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = 86400.0


def states(findings: Any) -> list[str]:
    return [one.state for one in findings]


# address and port


@pytest.mark.parametrize(
    ("axon", "own", "given", "state", "words"),
    [
        ("203.0.113.7:8091", ["203.0.113.7"], None, "ok", "this machine's"),
        ("203.0.113.9:8091", ["203.0.113.7"], None, "error", "no address of this machine"),  # another machine
        ("203.0.113.9:8091", ["203.0.113.7"], "203.0.113.7", "error", "this machine is 203.0.113.7"),
        ("203.0.113.9:8091", ["192.168.0.5"], None, "warning", "NAT"),  # cannot be told
        ("203.0.113.9:8091", ["192.168.0.5"], "203.0.113.9", "ok", ""),  # a person says so
        ("0.0.0.0:0", ["203.0.113.7"], None, "error", "published no address"),
        ("192.168.0.5:8091", ["192.168.0.5"], None, "error", "private address"),
        ("miner.example.org:8091", ["203.0.113.7"], None, "error", "no address of this machine"),
        (None, ["203.0.113.7"], None, "not asked", ""),
    ],
)
def test_address(axon: str | None, own: list[str], given: str | None, state: str, words: str, monkeypatch: Any) -> None:
    # documentation's addresses count as private in Python
    monkeypatch.setattr(network, "is_private", lambda one: one.startswith("192.168."))
    found = list(judge_address(Member(3, axon, False, 0.0), own, given))
    assert states(found) == [state]
    assert words in found[0].sentence


@pytest.mark.parametrize(
    ("host", "private"), [("10.0.0.1", True), ("fd00::1", True), ("8.8.8.8", False), ("name", False)]
)
def test_private_addresses(host: str, private: bool) -> None:
    assert network.is_private(host) == private


def test_nobody_has_an_address() -> None:
    assert states(judge_address(None, [], None)) == ["not asked"]
    assert split_axon("[2001:db8::1]:8091") == ("2001:db8::1", 8091)
    assert split_axon("nonsense") == ("", 0)


@contextmanager
def listening(host: str) -> Iterator[int]:
    with socket.create_server((host, 0)) as server:
        yield int(server.getsockname()[1])


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# registration

METAGRAPH = Metagraph(
    hotkeys=(ALICE, BOB), validator_permit=(False, True), stake=(1.0, 9.0), axons=("1.2.3.4:5", "0.0.0.0:0")
)


@pytest.mark.parametrize(
    ("hotkey", "uid", "expected"),
    [
        (ALICE, None, ["ok", "ok"]),
        (ALICE, 0, ["ok", "ok"]),
        (ALICE, 7, ["warning", "ok", "ok"]),  # params.yaml has another uid
        (BOB, None, ["ok", "warning"]),  # a validator's permit
        ("5DAAnrj7VHTznn2AWBemMuyBwZWs6FNFjdyVXUeYum3PTXFy", None, ["error"]),  # deregistered
    ],
)
def test_registration(hotkey: str, uid: int | None, expected: list[str]) -> None:
    assert states(judge_registration(METAGRAPH, hotkey, uid)) == expected


def test_a_subnet_without_validators() -> None:
    alone = Metagraph(hotkeys=(ALICE,), validator_permit=(False,))
    assert states(judge_registration(alone, ALICE, None)) == ["ok", "error"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "file"),
        ("{", "file"),
        ("{}", "hotkeys"),
        (json.dumps({"hotkeys": [ALICE], "axons": []}), None),
        (json.dumps({"hotkeys": [ALICE], "axons": ["a", "b"]}), "axons: one entry a uid"),
        (json.dumps({"hotkeys": [ALICE], "validator_permit": [True], "block": 7}), None),  # other keys are passed over
    ],
)
def test_a_metagraph_from_a_file(text: str, words: str | None) -> None:
    if words is None:
        assert parse(text, "f.json").find(ALICE) is not None
        return
    with pytest.raises(MetagraphError, match=rf"f.json: .*{words}"):
        parse(text, "f.json")


# latency


@pytest.mark.parametrize(
    ("p99", "longest", "state"),
    [
        (0.3, 1.0, "ok"),
        (4.5, 5, "warning"),
        (0.3, 8.5, "warning"),  # one was nearly lost
        (8.2, 8.9, "error"),
        (math.inf, math.inf, "error"),
        (0.5, math.inf, "ok"),  # a histogram does not say how long the longest took
    ],
)
def test_margin(p99: float, longest: float, state: str) -> None:
    assert judge_latency(p99, longest, "test").state == state


def test_seconds_of_the_last_day() -> None:
    def line(hours: float, **other: Any) -> str:
        when = (NOW - timedelta(hours=hours)).isoformat()
        return json.dumps({"time": when, "path": "/v1/predict", "status": 200, "milliseconds": 250.0, **other})

    lines = [
        line(1),
        line(23.9, milliseconds=500),
        line(25),  # yesterday
        line(1, status=503),  # refused
        line(1, path="/v1/predict/clip"),
        line(1, path="/healthz"),
        "a traceback with /v1/predict in it",
        json.dumps({"path": "/v1/predict"}),
        line(1)[:-5],  # cut short
    ]
    assert recent_seconds(lines, NOW) == [0.25, 0.5]


@pytest.mark.parametrize(
    ("values", "share", "expected"), [([1.0], 0.99, 1.0), (list(range(1, 101)), 0.99, 99), ([3.0, 1.0, 2.0], 0.5, 2.0)]
)
def test_percentiles(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_percentile_of_a_histogram() -> None:
    """The integration test has the service's own."""
    registry = CollectorRegistry()
    seconds = Histogram(HISTOGRAM.removesuffix("_bucket"), "test", buckets=(0.025, 5.0, 9.0), registry=registry)

    def p99() -> tuple[float, int] | None:
        return histogram_p99(generate_latest(registry).decode())

    assert p99() is None
    for one in [0.02] * 990 + [3.0] * 10:
        seconds.observe(one)
    assert p99() == (0.025, 1000)
    for _ in range(5):
        seconds.observe(3.0)
    assert p99() == (5.0, 1005)
    for _ in range(30):
        seconds.observe(20.0)
    assert p99() == (math.inf, 1035)


# engine


def stage(name: str, device: str | None, why: str = "") -> StageStatus:
    return StageStatus(name=name, on=True, why=why, engine="openvino", device=device, precision="bf16")


@pytest.mark.parametrize(
    ("stages", "gib", "has_gpu", "state"),
    [
        ([stage("classifier", "cpu")], 0, False, "ok"),
        ([stage("classifier", "cpu")], 24, True, "warning"),  # silently on the processor
        # one of several, which memory.gpu_stages wants on the card
        ([stage("classifier", "cuda"), stage("ocr", "cpu").model_copy(update={"off_gpu": True})], 24, True, "warning"),
        ([stage("classifier", "cuda"), stage("ocr", "cpu")], 24, True, "ok"),
        ([stage("classifier", "cuda")], 24, True, "ok"),
        ([stage("classifier", "cuda")], 24, False, "error"),
        ([stage("classifier", "cpu"), stage("vlm", None, "damaged: x")], 0, False, "error"),
    ],
)
def test_engine(stages: list[StageStatus], gib: float, has_gpu: bool, state: str) -> None:
    found = judge_engine(stages, gib, has_gpu=has_gpu)
    assert found.state == state
    assert "classifier" in found.sentence or state == "error"


# model card


def write(path: Path, days: float, **changes: Any) -> Path:
    document = {
        "model_name": "roadwork",
        "version": "1.2.3",
        "submitted_by": ALICE,
        "submission_time": int(NOW.timestamp() - days * DAY),
        **changes,
    }
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("days", "changes", "hotkey", "expected", "words"),
    [
        (10, {}, ALICE, ["ok", "ok"], "80.0 of 90"),
        (10, {}, BOB, ["error", "ok"], "the miner's is"),
        (50, {}, ALICE, ["ok", "warning"], "warning at 45"),
        (91, {}, ALICE, ["ok", "error"], "expired 1.0 days"),
        (91, {"submission_time": str(int((NOW.timestamp() - 91 * DAY) * 1000))}, ALICE, ["ok", "error"], "expired 1.0"),
        (-3, {}, ALICE, ["ok", "error"], "3.0 days ahead"),
        (10, {"version": "1.2"}, ALICE, ["error"], "version"),
        (10, {"submitted_by": ALICE[:-1] + "Z"}, ALICE, ["error"], "ss58"),
    ],
)
def test_card(days: float, changes: Any, hotkey: str, expected: list[str], words: str, tmp_path: Path) -> None:
    path = write(tmp_path / FILE, days, **changes)
    submission = SubmissionParams(submitted_by=ALICE, repository="me/roadwork")
    found = list(card_findings(path, ClockParams(), submission, hotkey, NOW.timestamp()))
    assert states(found) == expected
    assert words in " ".join(one.sentence for one in found)


@pytest.mark.parametrize(("hotkey", "state"), [(ALICE, "error"), (None, "warning")])
def test_no_card(hotkey: str | None, state: str, tmp_path: Path) -> None:
    submission = SubmissionParams(submitted_by=hotkey)
    assert states(card_findings(tmp_path / FILE, ClockParams(), submission, hotkey, 0.0)) == [state]


@pytest.mark.parametrize(("days", "code"), [(10, 0), (50, 0), (91, 1)])
def test_command_card_check(days: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    write(tmp_path / FILE, days + (time.time() - NOW.timestamp()) / -DAY)
    done = CliRunner().invoke(card.app, ["check", str(tmp_path)])
    assert done.exit_code == code, done.stdout


# the whole command


def findings(folder: Path, *options: str) -> dict[str, list[dict[str, Any]]]:
    done = CliRunner().invoke(doctor.app, ["--miner", "--json", *options])
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(done.stdout)["findings"]:
        found.setdefault(one["check"], []).append(one)
    assert done.exit_code == any(one["state"] == "error" for many in found.values() for one in many)
    return found


@pytest.fixture
def miner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with parameters and a git history that once had a phrase."""
    repository(tmp_path, {"a.txt": "x"}, {"seed.txt": phrase()}, {"seed.txt": None})
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metagraph(folder: Path, axon: str) -> str:
    file = folder / "metagraph.json"
    file.write_text(
        json.dumps({"hotkeys": [BOB, ALICE], "axons": ["0.0.0.0:0", axon], "validator_permit": [True, False]})
    )
    return str(file)


def test_without_a_chain_it_is_not_asked(miner: Path) -> None:
    found = findings(miner)
    assert {found[name][0]["state"] for name in ("metagraph address", "axon port", "registration")} == {"not asked"}
    assert found["wallet keys in files"][0]["state"] == "ok"


def test_wrong_address_closed_port_and_phrases_are_found(miner: Path) -> None:
    (miner / "notes.md").write_text(f"mine:\n{phrase(24, 1)}\n")
    file = metagraph(miner, f"203.0.113.250:{closed_port()}")
    found = findings(miner, "--hotkey", ALICE, "--metagraph", file, "--address", "203.0.113.1")
    assert found["metagraph address"][0]["state"] == "error"
    assert found["axon port"][0]["state"] == "error"
    assert "nothing listens" in found["axon port"][0]["sentence"]
    assert found["registration"][0]["state"] == "ok"
    assert "notes.md:2: recovery phrase of 24 words" in found["wallet keys in files"][0]["sentence"]
    history = found["wallet keys in history"][0]
    assert history["state"] == "error"
    assert "seed.txt:1 in commit" in history["sentence"]
    assert all(one["remedy"] for many in found.values() for one in many if one["state"] in ("error", "warning"))
    assert not set(phrase(24, 1).split()) & set(json.dumps(found).split()) - {"phrase", "key", "private", "file"}


@pytest.mark.parametrize(("host", "state"), [("127.0.0.1", "error"), ("0.0.0.0", "ok")])  # noqa: S104
def test_a_port_that_only_loopback_reaches(host: str, state: str, miner: Path) -> None:
    if not own_addresses():
        pytest.skip("this machine has loopback alone")
    with listening(host) as port:
        found = findings(miner, "--port", str(port))
    assert found["axon port"][0]["state"] == state
