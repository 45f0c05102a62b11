"""One service under what it must survive: its own OpenAPI turned against it, bombs, damage, load, and its end."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from cascade.client import AsyncClient, Client
from cascade.process.ready import free_port
from cascade.release.store import Release
from tests.support import fuzz, tiny
from tests.support.clips import clip
from tests.support.service import started

pytestmark = pytest.mark.e2e
JPEG, BLUE = tiny.encoded(tiny.street(tiny.ORANGE)), tiny.encoded(tiny.street(tiny.BLUE))
# bytes of all processes of the service that damaged images may leave behind
GROWTH = 60_000_000


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny.write_release(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "service.log"


@pytest.fixture(scope="module")
def process(release: Release, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port("127.0.0.1", 18300)
    url = f"http://127.0.0.1:{port}"
    params = tiny.runtime_params(
        serve={"port": port, "max_images": 4, "deadline_seconds": 8.5, "drain_seconds": 1.0}
    ).model_dump_json()
    with started(release, log, url, params) as child:
        yield child, url


@pytest.fixture(scope="module")
def url(process: tuple[subprocess.Popen[bytes], str]) -> str:
    return process[1]


def test_what_the_document_allows_is_answered_as_it_says(url: str) -> None:
    """Status, content type and shape of every answer are those of the document, and none is a fault of ours."""
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/v1/predict", "/v1/clip", "/v1/release", "/readyz"}
    for operation in operations:
        _try_operation(operation)


def _try_operation(operation: schemathesis.APIOperation) -> None:
    # few where there is nothing to vary
    examples = 20 if operation.body else 2

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def send(case: schemathesis.Case) -> None:
        # bytes at random are a file by the document, and no picture
        checks = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")]
        assert case.call_and_validate(timeout=30, excluded_checks=checks).status_code < 500

    send()


# 2.7 GB of pixels; and Pillow only warns of 300 MB, which must not break the JSON of the log
@pytest.mark.parametrize("side", [30_000, 10_000])
def test_a_bomb_costs_next_to_nothing(url: str, side: int) -> None:
    """A PNG that claims so many pixels a side is refused by its header."""
    seconds = []
    with httpx.Client() as client:
        for _ in range(5):
            start = time.perf_counter()
            response = client.post(f"{url}/v1/predict", files=[("files", ("bomb.png", tiny.bomb(side)))])
            seconds.append(time.perf_counter() - start)
            assert (response.status_code, response.json()["error"]["reason"]) == (413, "too_large")
    # the fastest: other work of the machine is not the service's
    assert min(seconds) <= 0.1, seconds


def test_both_clients_get_typed_answers(url: str, release: Release) -> None:
    async def waited() -> tuple[Any, Any]:
        async with AsyncClient(url) as client:
            return await client.predict([BLUE]), await client.predict_clip(drive)

    drive = clip([tiny.ORANGE] * 8)
    with Client(url) as client:
        assert [one.label for one in client.predict([JPEG, BLUE]).results] == ["roadwork", "clear"]
        assert client.predict_clip(drive).label == "roadwork"
        assert client.release().release == release.id
    still, moving = asyncio.run(waited())
    assert (still.results[0].label, moving.label) == ("clear", "roadwork")


def test_the_command_line_asks_a_service(url: str, tmp_path: Path) -> None:
    """In a folder without a release or parameters; a bad file is one line, and the others are answered."""
    (tmp_path / "street.jpg").write_bytes(JPEG)
    (tmp_path / "letter.txt").write_text("a letter")
    command = [sys.executable, "-m", "cascade.cli", "predict", "street.jpg", "letter.txt", "--url", url, "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["street.jpg"]["label"] == "roadwork"
    (line,) = done.stderr.splitlines()
    assert line.startswith("letter.txt: the file is not an image")


def test_requests_at_once_get_the_answers_they_get_alone(url: str) -> None:
    shades = [tiny.encoded(tiny.street((25 * number, 100, 255 - 25 * number))) for number in range(10)]
    with Client(url) as client, ThreadPoolExecutor(16) as pool:

        def ask(data: bytes) -> float:
            return client.predict([data]).results[0].probability

        alone = [ask(data) for data in shades]
        together = list(pool.map(ask, shades * 8))
    assert together == pytest.approx(alone * 8, abs=1e-5)


def memory(child: subprocess.Popen[bytes]) -> int:
    """Bytes of the service and its decoders that no other process shares."""
    service = psutil.Process(child.pid)
    return sum(one.memory_full_info().uss for one in (service, *service.children(recursive=True)))


def test_damaged_images_cost_no_memory(process: tuple[subprocess.Popen[bytes], str]) -> None:
    """`make fuzz` sends more of them."""
    child, url = process
    street = tiny.street(tiny.ORANGE, tiny.BLUE, size=(160, 120))
    sound = [tiny.encoded(street), tiny.encoded(street, "PNG"), tiny.encoded(street, "WEBP"), tiny.png16(street)]
    numbers = fuzz.cases(300)
    sizes, statuses = [], []
    with httpx.Client(timeout=30) as client:
        for number in numbers:
            data = fuzz.mutated(sound[number % len(sound)], number)
            statuses.append(client.post(f"{url}/v1/predict", files=[("files", ("a", data))]).status_code)
            if number % max(1, len(numbers) // 12) == 0:
                sizes.append(memory(child))
    assert set(statuses) <= {200, 413, 415, 422}
    assert len(set(statuses)) > 1
    # the first third warms up
    settled = sizes[len(sizes) // 3 :]
    assert settled[-1] - settled[0] < GROWTH, sizes
    assert statistics.median(settled[len(settled) // 2 :]) - statistics.median(settled[: len(settled) // 2]) < GROWTH


def test_many_large_bodies_are_admitted_by_their_bytes(process: tuple[subprocess.Popen[bytes], str]) -> None:
    """64 bodies of 60 MB took 3.0 GB; a plain picture beside them is answered."""
    child, url = process
    body = b'{"image": "' + b"A" * 60_000_000 + b'"}'
    service, peak = psutil.Process(child.pid), 0
    with ThreadPoolExecutor(64) as pool:
        running = [pool.submit(send_body, url, body) for _ in range(64)]
        while not all(one.done() for one in running):
            peak = max(peak, service.memory_info().rss)
            time.sleep(0.02)
    assert {one.result() for one in running} <= {413, 415, 422, 503, None}
    assert peak < 1_500_000_000
    assert httpx.post(f"{url}/v1/predict", files=[("files", ("a.jpg", JPEG))], timeout=30).status_code == 200


def send_body(url: str, body: bytes) -> int | None:
    """The status of a JSON request; None where the service closed the connection before all of it was sent."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        # by hand, as httpx would copy the body
        connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def test_an_end_under_load_loses_no_accepted_request(process: tuple[subprocess.Popen[bytes], str], log: Path) -> None:
    # last in the file: it ends the service of this module
    child, url = process
    outcomes: list[str] = []
    not_ready = threading.Event()

    def load() -> None:
        """Send one request after the other until no connection is accepted any more."""
        while True:
            try:
                outcomes.append(str(client.post(f"{url}/v1/predict", files=picture).status_code))
            except httpx.ConnectError:
                outcomes.append("not accepted")
                return
            except httpx.TransportError as error:
                outcomes.append(f"lost: {error!r}")
                return

    def watch() -> None:
        with suppress(httpx.TransportError):
            while client.get(f"{url}/readyz").json()["status"] != "draining":
                time.sleep(0.02)
            not_ready.set()

    picture = [("files", ("a.jpg", JPEG))]
    threads = [threading.Thread(target=load) for _ in range(8)] + [threading.Thread(target=watch)]
    client = httpx.Client(timeout=30)
    for thread in threads:
        thread.start()
    while len(outcomes) < 20:
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    assert child.wait(timeout=30) in (0, -signal.SIGTERM)
    assert not_ready.is_set()
    assert set(outcomes) == {"200", "not accepted"}
    assert outcomes.count("not accepted") == 8
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line for line in lines if line["level"] == "error"] == []
