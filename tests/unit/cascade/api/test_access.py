"""What is around an answer: request ids, log lines, limits of keys, a full queue, draining, and `/v1/release`."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cascade.api.app import create_app
from cascade.api.auth import KEY_VARIABLE
from cascade.api.logs import JsonFormatter
from cascade.api.workers import Workers
from cascade.core.cascade import Cascade
from cascade.release.manifest import CascadeSettings, StageEntry
from cascade.release.store import Release
from tests.support import tiny

JPEG = tiny.encoded(tiny.street(tiny.ORANGE))
FILES = [("files", ("street.jpg", JPEG))]
LIGHT = "serve.stages is light"
SETTINGS = CascadeSettings(
    stages=(
        StageEntry(name="classifier", on=True),
        StageEntry(name="detectors", on=False, why="no weights"),
        StageEntry(name="vlm", on=False, why="costs more than it brings"),
        StageEntry(name="ocr", on=True),
    )
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny.write_release(tmp_path_factory.mktemp("root"), settings=SETTINGS)


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@contextmanager
def running(release: Release, **serve: object) -> Iterator[TestClient]:
    with TestClient(create_app(release, tiny.runtime_params(serve=serve)), raise_server_exceptions=False) as client:
        while client.get("/readyz").json()["status"] == "loading":
            pass
        yield client


@pytest.fixture(scope="module")
def client(release: Release) -> Iterator[TestClient]:
    with running(release) as client:
        yield client


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, False),
        ("", False),
        ("a" * 65, False),
        # what a log or a header would give a meaning to
        ("a b", False),
        ('a"b', False),
        ("{jndi:ldap://x}", False),
        ("a/../b", False),
        ("ö", False),
        ("a" * 64, True),
        ("0af7651916cd43dd-8448eb211c80319c_1.2", True),
    ],
)
@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/v1/predict"])
def test_request_ids(client: TestClient, path: str, given: str | None, kept: bool) -> None:
    headers = {} if given is None else {"X-Request-Id": given.encode()}
    name = client.get(path, headers=headers).headers["x-request-id"]
    assert (name == given) == kept
    assert kept or len(name) == 32


class Lines(logging.Handler):
    """Writes as the service does: at once, where the request's id is still known."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(JsonFormatter())
        self.written: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(json.loads(self.format(record)))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, object]]]:
    caplog.set_level(logging.INFO, logger="streetvision")
    handler, logger = Lines(), logging.getLogger("streetvision")
    logger.addHandler(handler)
    yield handler.written
    logger.removeHandler(handler)


def test_a_line_a_request_and_nothing_of_the_image(client: TestClient, lines: list[dict[str, object]]) -> None:
    name = "street-of-a-person.jpg"
    client.post("/v1/predict", files=[("files", (name, JPEG))], headers={"X-Request-Id": "seven"})
    client.post("/v1/predict", json={"image": "not base64!"})
    client.get("/readyz")
    answered, refused = lines
    facts = {"level": "info", "method": "POST", "path": "/v1/predict", "request_id": "seven"}
    assert {**answered, **facts} == answered
    assert (answered["status"], answered["images"]) == (200, 1)
    assert float(str(answered["milliseconds"])) > 0
    assert (refused["status"], refused["reason"]) == (400, "not_base64")
    text = json.dumps([answered, refused])
    assert name not in text
    assert base64.b64encode(JPEG).decode()[:40] not in text
    assert "probability" not in text


def test_a_fault_has_its_traceback_under_the_id_of_its_request(
    client: TestClient, lines: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(Cascade, "predict", broken)
    response = client.post("/v1/predict", files=FILES, headers={"X-Request-Id": "broken-1"})
    assert (response.status_code, response.headers["x-request-id"]) == (500, "broken-1")
    assert "secret" not in response.text
    fault, line = lines
    assert (fault["request_id"], line["request_id"], line["status"]) == ("broken-1", "broken-1", 500)
    assert "RuntimeError: /secret/path" in str(fault["exception"])


def keys_file(folder: Path, limits: Mapping[str, int]) -> Path:
    file = folder / "keys.yaml"
    entry = {"sha256": hashlib.sha256(b"secret").hexdigest(), **limits}
    file.write_text(json.dumps({"miner-1": entry}))
    return file


@pytest.mark.parametrize(
    ("limits", "reason", "longest"),
    [({"requests_per_minute": 2}, "rate_limited", 30), ({"requests_per_day": 2}, "quota_exceeded", 86_400)],
)
def test_a_key_beyond_its_limit_waits(
    release: Release, tmp_path: Path, limits: dict[str, int], reason: str, longest: int
) -> None:
    key = {"Authorization": "Bearer secret"}
    file = keys_file(tmp_path, limits)
    with running(release, key_file=file, quota=tmp_path / "quota.sqlite") as client:
        # those without the key, and other routes, take nothing of it
        assert client.post("/v1/predict", files=FILES).status_code == 401
        assert client.get("/v1/release", headers=key).status_code == 200
        answers = [client.post("/v1/predict", files=FILES, headers=key) for _ in range(3)]
        metrics = client.get("/metrics", headers=key).text
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["error"]["reason"] == reason
    assert 1 <= int(answers[2].headers["Retry-After"]) <= longest
    assert f'streetvision_requests_total{{outcome="{reason}"}} 1.0' in metrics


class Held:
    """A cascade whose predictions wait until `gate` opens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate, self.begun, predict = threading.Event(), threading.Semaphore(0), Cascade.predict
        self.predicted = 0

        def slow(cascade: Cascade, images: list[object], *rest: object) -> object:
            self.predicted += 1
            self.begun.release()
            assert self.gate.wait(30)
            return predict(cascade, images, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(Cascade, "predict", slow)


def test_a_full_queue_says_when_to_come_back(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    with running(release, max_requests=2) as client, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.post, "/v1/predict", files=FILES) for _ in range(2)]
        assert all(held.begun.acquire(timeout=10) for _ in range(2))
        refused = client.post("/v1/predict", files=FILES)
        held.gate.set()
        assert [one.result().status_code for one in waiting] == [200, 200]
    assert (refused.status_code, refused.json()["error"]["reason"]) == (503, "busy")
    assert refused.headers["Retry-After"] == "1"


def test_work_whose_client_gave_up_is_dropped(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.api.handlers.count_workers", lambda *_: Workers(4, 1))
    held = Held(monkeypatch)
    with running(release, deadline_seconds=1.0) as client, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(client.post, "/v1/predict", files=FILES) for _ in range(4)]
        assert {one.result().json()["error"]["reason"] for one in waiting} == {"deadline"}
        held.gate.set()
        # the one that was at work, and this one; the three in line were never begun
        assert client.post("/v1/predict", files=FILES).status_code == 200
    assert held.predicted == 2


def test_a_service_that_drains_answers_and_says_so(release: Release) -> None:
    with running(release) as client:
        client.app.state.service.drain()  # type: ignore[attr-defined]
        ready, answer = client.get("/readyz"), client.post("/v1/predict", files=FILES)
        assert "streetvision_ready 0.0" in client.get("/metrics").text
    assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")


@pytest.mark.parametrize(
    ("stages", "why"),
    [
        ("all", {"classifier": None, "detectors": "no weights", "vlm": "costs more than it brings", "ocr": None}),
        ("light", {"classifier": None, "detectors": "no weights", "vlm": LIGHT, "ocr": LIGHT}),
    ],
)
def test_the_release_describes_itself(release: Release, stages: str, why: dict[str, str | None]) -> None:
    with running(release, stages=stages) as client:
        response = client.get("/v1/release")
        trace = client.post("/v1/predict", files=[("files", ("grey.jpg", tiny.encoded(tiny.street((90, 90, 90)))))])
    about = response.json()
    assert (about["release"], about["thresholds"]) == (release.id, {"high": 0.88, "low": 0.12})
    assert about["revision"] == {"data": "d" * 64, "code": "c" * 40}
    assert about["engine"]["kind"] == "onnxruntime"
    assert {stage["name"]: None if stage["on"] else stage["why"] for stage in about["stages"]} == why
    assert str(release.folder) not in response.text
    assert "/" not in response.text
    skipped = {stage["stage"]: stage["skipped"] for stage in trace.json()["results"][0]["stages"]}
    assert (skipped["ocr"] == "off") == (stages == "light")
    assert skipped["vlm"] == "off"


def test_the_document_has_bodies_refusals_and_examples(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    predict = document["paths"]["/v1/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert {"200", "401", "413", "429", "503"} <= set(predict["responses"])
    sent = predict["requestBody"]["content"]["application/json"]["example"]
    # the example is read as a picture, and is too small to be answered
    assert client.post("/v1/predict", json=sent).json()["error"]["reason"] == "too_small"
    given = predict["responses"]["200"]["content"]["application/json"]["example"]["results"][0]
    real = client.post("/v1/predict", files=FILES).json()["results"][0]
    assert set(given) == set(real)
    # FastAPI leaves nulls out of examples
    assert set(given["stages"][0]) | {"skipped"} == set(real["stages"][0])


def test_requests_at_once_get_the_answers_they_get_alone(release: Release) -> None:
    shades = [tiny.encoded(tiny.street((25 * number, 100, 255 - 25 * number))) for number in range(10)]
    with running(release, stages="light") as client, ThreadPoolExecutor(10) as pool:

        def ask(data: bytes) -> float:
            response = client.post("/v1/predict", files=[("files", ("a.jpg", data))])
            return float(response.json()["results"][0]["probability"])

        alone = [ask(data) for data in shades]
        together = list(pool.map(ask, shades * 3))
    assert together == pytest.approx(alone * 3, abs=1e-5)
    assert len(set(alone)) == len(alone)
