"""The client against a real HTTP server with given answers: what it repeats, how long it waits, what it gives up on."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cascade.client import AsyncClient, Client, RefusedError, UnreachableError

ANSWER = {
    "probability": 0.96,
    "label": "roadwork",
    "decided_by": "classifier",
    "reason": "0.96 is at least 0.88",
    "stages": [],
    "milliseconds": 22.4,
    "release": "46b0c9499b02",
}
GOOD = (200, {}, {"release": "46b0c9499b02", "results": [ANSWER]})
Given = tuple[int, dict[str, str], object]


def refusal(status: int, reason: str, **headers: str) -> Given:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, {"error": {"reason": reason, "message": "why", "index": 1}}


class Script(ThreadingHTTPServer):
    """Gives its answers in turn; 0 closes the connection without one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Given] = []
        self.seen: list[tuple[float, str, str | None, bytes]] = []
        self.cache_control: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Script

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((time.monotonic(), self.path, self.headers.get("Authorization"), body))
        self.server.cache_control.append(self.headers.get("Cache-Control"))
        status, headers, document = self.server.answers.pop(0)
        if not status:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        text = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text)), "X-Request-Id": "seven"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def script() -> Iterator[Script]:
    with Script() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(script: Script, kind: str, **settings: object) -> str:
    """Predict with one of the clients; the label, or what was raised."""
    url = f"http://127.0.0.1:{script.server_port}/"

    async def waited() -> str:
        async with AsyncClient(url, **settings) as client:  # type: ignore[arg-type]
            return (await client.predict([b"one", b"two"])).results[0].label

    try:
        if kind == "async":
            return asyncio.run(waited())
        with Client(url, **settings) as client:  # type: ignore[arg-type]
            return client.predict([b"one", b"two"]).results[0].label
    except RefusedError as error:
        return f"{error.status} {error.reason} {error.index} {error.request_id}"
    except UnreachableError as error:
        return f"unreachable: {error}"


BUSY, LATER = refusal(503, "busy"), refusal(503, "busy", Retry_After="1")


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("answers", "expected", "at_least"),
    [
        # what does not pass by itself is not repeated
        ([refusal(415, "not_an_image")], "415 not_an_image 1 seven", 0.0),
        ([refusal(401, "unauthorized")], "401 unauthorized 1 seven", 0.0),
        ([refusal(500, "internal")], "500 internal 1 seven", 0.0),
        # a limit that lasts for longer than anybody waits
        ([refusal(429, "quota_exceeded", Retry_After="3600")], "429 quota_exceeded 1 seven", 0.0),
        # until the attempts are used up
        ([BUSY, BUSY, BUSY], "503 busy 1 seven", 0.25),
        ([(0, {}, "")] * 3, "unreachable", 0.25),
        # not a service of ours: a proxy's page, another shape
        ([(404, {}, "<html>")], "unreachable", 0.0),
        ([(418, {}, [])], "unreachable", 0.0),
        ([(200, {}, {"results": 7})], "unreachable", 0.0),
        # what passes
        ([BUSY, GOOD], "roadwork", 0.1),
        ([(0, {}, ""), GOOD], "roadwork", 0.1),
        ([(502, {}, "<html>"), GOOD], "roadwork", 0.1),
        ([refusal(429, "rate_limited", Retry_After="1"), GOOD], "roadwork", 1.0),
        ([LATER, (0, {}, ""), GOOD], "roadwork", 1.2),
        # a date, as proxies may send, counts as none
        ([refusal(503, "busy", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), GOOD], "roadwork", 0.1),
        ([GOOD], "roadwork", 0.0),
    ],
)
def test_what_is_repeated(script: Script, kind: str, answers: list[Given], expected: str, at_least: float) -> None:
    script.answers = list(answers)
    start = time.monotonic()
    assert ask(script, kind, key="sécret", attempts=3).startswith(expected)
    assert time.monotonic() - start >= at_least
    assert script.answers == []
    assert len(script.seen) == len(answers)
    for _, path, authorization, body in script.seen:
        assert path == "/v1/predict"
        assert authorization is not None
        assert authorization.encode("latin-1").decode() == "Bearer sécret"
        # the whole body is sent each time
        assert body.index(b"one") < body.index(b"two")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_nobody_there(script: Script, kind: str) -> None:
    script.server_close()
    assert ask(script, kind, attempts=2).startswith(f"unreachable: http://127.0.0.1:{script.server_port}: ")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_client_may_ask_that_nothing_is_kept(script: Script, kind: str) -> None:
    script.answers = [GOOD, GOOD]
    assert [ask(script, kind, keep=keep) for keep in (True, False)] == ["roadwork", "roadwork"]
    assert script.cache_control == [None, "no-store"]
