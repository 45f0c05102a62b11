"""Files that are made to keep decoders busy, sent to the real service, while a second client sends plain pictures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from cascade.api.process import free_port, readiness
from tests.support import bad_images, clips, tiny

pytestmark = pytest.mark.e2e
# what a plain picture may take while the attack lasts, and how long that is
PLAIN_SECONDS, ATTACK_SECONDS = 2.0, 10.0
ATTACKERS = 2
# an attacker: sends one body over and over until its input closes, and says what was answered
ATTACKER = """
import http.client, json, sys, threading
host, path, file = sys.argv[1:]
body, answers, over = open(file, "rb").read(), [], threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
while not over.is_set():
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("POST", path, body, {"Content-Type": "multipart/form-data; boundary=x"})
    response = connection.getresponse()
    answers.append([response.status, json.load(response).get("error", {}).get("reason", "")])
    connection.close()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    release = tiny.write_release(tmp_path_factory.mktemp("root"))
    port = free_port("127.0.0.1", 18400)
    serve = {"max_images": 4, "max_bytes": 20_000_000, "max_request_bytes": 64_000_000, "deadline_seconds": 8.5}
    params = tiny.runtime_params(serve={**serve, "port": port}).model_dump_json()
    command = [sys.executable, "-m", "cascade.api.app", "--release", str(release.folder), "--params", params]
    log = tmp_path_factory.mktemp("log") / "service.log"
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as child:
        try:
            while readiness(address) != ("ready", release.id):
                assert child.poll() is None, log.read_text()
                time.sleep(0.1)
            yield address
        finally:
            child.terminate()
    assert "Traceback" not in log.read_text()


def post(url: str, path: str, data: bytes) -> tuple[int, str]:
    response = httpx.post(f"{url}{path}", files=[("files", ("file", data))], timeout=30)
    return response.status_code, response.json().get("error", {}).get("reason", "")


@pytest.mark.parametrize(
    ("path", "make", "answers"),
    [
        # 150 pictures of 9 megapixels in a microsecond: the first one is looked at, where the machine has the time
        ("/v1/clip", clips.one_picture_many_times, {(200, ""), (503, "deadline")}),
        # every one of them is due: what was seen in time is the answer, or none of it was
        pytest.param(
            "/v1/clip",
            lambda: clips.one_picture_many_times(timescale=2),
            {(200, ""), (503, "deadline")},
            marks=pytest.mark.slow,
        ),
        ("/v1/predict", lambda: bad_images.many_scans(1000, (4000, 3000)), {(422, "too_many_scans")}),
        # nothing tells beforehand that it takes for ever; on a busy machine the deadline comes before its limit of time
        ("/v1/predict", lambda: bad_images.slow_bitmap(9_000_000), {(422, "too_slow"), (503, "deadline")}),
    ],
    ids=["pictures never due", "pictures all due", "scans", "slow bitmap"],
)
def test_a_plain_picture_is_answered_during_an_attack(
    url: str, tmp_path: Path, path: str, make: Callable[[], bytes], answers: set[tuple[int, str]]
) -> None:
    plain = tiny.encoded(tiny.street(tiny.ORANGE))
    assert post(url, "/v1/predict", plain) == (200, "")
    attackers = [attacker(url, path, make(), tmp_path) for _ in range(ATTACKERS)]
    taken, ready = [], []
    end = time.monotonic() + ATTACK_SECONDS
    while time.monotonic() < end:
        begun = time.monotonic()
        assert post(url, "/v1/predict", plain) == (200, "")
        taken.append(time.monotonic() - begun)
        ready.append(httpx.get(f"{url}/readyz", timeout=5).status_code)
        time.sleep(0.1)
    seen = [tuple(answer) for child in attackers for answer in json.loads(child.communicate(timeout=60)[0])]
    print(f"{len(taken)} plain pictures, the longest {max(taken):.2f} s; {len(seen)} answers to the attack")
    assert max(taken) < PLAIN_SECONDS, sorted(taken)[-5:]
    assert set(ready) == {200}
    assert set(seen) <= answers


def attacker(url: str, path: str, data: bytes, folder: Path) -> subprocess.Popen[bytes]:
    """Start a client of its own process, so that what it sends costs this one nothing."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="file"\r\n\r\n'
    # a file of its own: another attacker may be reading its one
    body = folder / f"body-{len(list(folder.iterdir()))}"
    body.write_bytes(head + data + b"\r\n--x--\r\n")
    command = [sys.executable, "-c", ATTACKER, url.removeprefix("http://"), path, str(body)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_list_of_files_is_refused_before_ffmpeg_sees_it(url: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(clips.clip([tiny.ORANGE] * 8))
    for text in (f"ffconcat version 1.0\nfile {secret}\n", f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n"):
        assert post(url, "/v1/clip", text.encode()) == (415, "not_a_clip")


def test_ended_decoders_are_counted(url: str) -> None:
    """Those that the attacks above ended."""
    counted = httpx.get(f"{url}/metrics").text
    (line,) = [line for line in counted.splitlines() if 'ended_total{lane="pictures",reason="too_slow"}' in line]
    assert float(line.split()[-1]) >= ATTACKERS
    assert 'streetvision_decoders_ended_total{lane="pictures",reason="crashed"} 0.0' in counted
