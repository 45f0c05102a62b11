"""The real service as a process of its own, with requests over HTTP."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from cascade.api.process import readiness
from cascade.client import Client
from cascade.process.ready import free_port
from cascade.release.store import Release
from tests.support import bad_images, tiny

pytestmark = pytest.mark.e2e
START_SECONDS = 60


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def release(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Release:
    return tiny.write_release(tmp_path_factory.mktemp("root"), engine=request.param)


def command(release: Release, port: int, **settings: object) -> list[str]:
    params = tiny.runtime_params(serve={"max_images": 32, "port": port, **settings}).model_dump_json()
    return [sys.executable, "-m", "cascade.api.app", "--release", str(release.folder), "--params", params]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "service.log"


@pytest.fixture(scope="module")
def process(release: Release, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port("127.0.0.1", 18080)
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output, subprocess.Popen(command(release, port), stdout=output, stderr=output) as child:
        try:
            while readiness(url) != ("ready", release.id):
                assert child.poll() is None, log.read_text()
            yield child, url
        finally:
            child.kill()


@pytest.fixture
def url(process: tuple[subprocess.Popen[bytes], str]) -> str:
    return process[1]


def post(url: str, *datas: bytes) -> httpx.Response:
    files = [("files", (f"{index}.jpg", data)) for index, data in enumerate(datas)]
    return httpx.post(f"{url}/v1/predict", files=files, timeout=30)


@pytest.mark.parametrize("name", bad_images.BAD)
@pytest.mark.parametrize("form", ["multipart", "json"])
def test_bad_input_gets_a_reason(url: str, name: str, form: str) -> None:
    data, status, reason = bad_images.BAD[name]
    if form == "multipart":
        response = post(url, data)
    else:
        response = httpx.post(f"{url}/v1/predict", json={"image": base64.b64encode(data).decode()}, timeout=30)
    error = response.json()["error"]
    assert (response.status_code, error["reason"], error["index"]) == (status, reason, 0)
    assert error["message"]


@pytest.mark.parametrize("name", bad_images.ODD)
def test_odd_but_sound_input_is_answered_rightly(url: str, name: str) -> None:
    data, label = bad_images.ODD[name]
    response = post(url, data)
    assert response.status_code == 200, response.text
    (result,) = response.json()["results"]
    assert result["label"] == label
    assert (result["probability"] > 0.5) == (label == "roadwork")


def test_a_body_beyond_the_limit_is_refused_and_the_service_goes_on(url: str) -> None:
    response = httpx.post(f"{url}/v1/predict", content=b"0" * 80_000_000, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["error"]["reason"]) == (413, "too_large")
    assert post(url, bad_images.JPEG).status_code == 200


def test_concurrent_requests_get_their_own_answers(url: str) -> None:
    orange, blue = tiny.encoded(tiny.street(tiny.ORANGE)), tiny.encoded(tiny.street(tiny.BLUE))
    # the client asks again where a busy machine had no time
    with Client(url) as client, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(client.predict, [[orange, blue], [blue, orange, blue]] * 12))
    labels = [[result.label for result in reply.results] for reply in replies]
    assert labels == [["roadwork", "clear"], ["clear", "roadwork", "clear"]] * 12


def test_the_service_says_what_it_is(url: str, release: Release) -> None:
    assert httpx.get(f"{url}/healthz").json() == {"status": "alive"}
    assert httpx.get(f"{url}/readyz").status_code == 200
    metrics = httpx.get(f"{url}/metrics").text
    assert f'release="{release.id}"' in metrics
    assert f'engine="{release.manifest.engine.kind}"' in metrics


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        ("port taken", "cannot listen on 127.0.0.1"),
        ("outside without a key", "STREETVISION_API_KEY"),
        ("altered release", "altered"),
    ],
)
def test_what_cannot_start_says_so_in_one_line(url: str, tmp_path: Path, breakage: str, message: str) -> None:
    release = tiny.write_release(tmp_path)
    port = int(url.rpartition(":")[2]) if breakage == "port taken" else free_port("127.0.0.1", 18200)
    host = "0.0.0.0" if breakage == "outside without a key" else "127.0.0.1"  # noqa: S104 - what must be refused
    if breakage == "altered release":
        (release.folder / "gate.json").write_text(json.dumps({"mcc": 1.0}))
    environment = {name: value for name, value in os.environ.items() if name != "STREETVISION_API_KEY"}
    started = command(release, port, host=host)
    done = subprocess.run(started, capture_output=True, text=True, timeout=START_SECONDS, env=environment, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert message in line


def test_a_client_that_leaves_is_one_line(process: tuple[subprocess.Popen[bytes], str], log: Path) -> None:
    """In the middle of its upload; that is nobody's fault, and no traceback."""
    _, url = process
    before = log.read_text()
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    with socket.create_connection(address) as connection:
        head = (
            "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999999\r\n\r\n"
        )
        connection.sendall(head.encode() + b'{"image": "')
        time.sleep(0.5)
    deadline = time.monotonic() + 10
    while not requests(url, "client_gone"):
        assert time.monotonic() < deadline
    assert not requests(url, "internal")
    assert "Traceback" not in log.read_text()[len(before) :]


def requests(url: str, outcome: str) -> float:
    """How many requests ended so, as the service counts them."""
    name = f'streetvision_requests_total{{outcome="{outcome}"}} '
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def test_a_polite_end_finishes_the_requests_that_run(process: tuple[subprocess.Popen[bytes], str]) -> None:
    # last in the file: it ends the service of this module
    child, url = process
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(post, url, *[bad_images.JPEG] * 8) for _ in range(4)]
        while "streetvision_requests_in_progress 0.0" in httpx.get(f"{url}/metrics").text:
            if all(one.done() for one in running):
                break
        child.send_signal(signal.SIGTERM)
        assert {one.result().status_code for one in running} == {200}
    child.wait(timeout=20)
