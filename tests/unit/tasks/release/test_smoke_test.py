"""Requests to a service that is too busy at first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tasks.release.smoke_test import WAITS, GoldenImage, SmokeTestError, smoke_test

ANSWER = b'{"results": [{"label": "clear", "probability": 0.1, "milliseconds": 5.0, "release": "r"}]}'
PICTURE = GoldenImage("street.jpg", "clear", b"bytes")


class Busy(BaseHTTPRequestHandler):
    """Answers with the server's `codes`, one a request."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        code = self.server.codes.pop(0)  # type: ignore[attr-defined]
        self.send_response(code)
        self.end_headers()
        self.wfile.write(ANSWER if code == 200 else b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    monkeypatch.setattr("tasks.release.smoke_test.WAITS", tuple(0.01 for _ in WAITS))
    server = HTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url(service: HTTPServer) -> str:
    return f"http://127.0.0.1:{service.server_port}"


def test_a_busy_service_is_asked_again(service: HTTPServer) -> None:
    service.codes = [503, 503, 200]  # type: ignore[attr-defined]
    assert smoke_test(url(service), [PICTURE])[0].probability == 0.1


@pytest.mark.parametrize(
    "codes",
    [
        # busy for good: sent four times, then an error
        [503] * 4,
        # a refusal is no matter of time
        [401],
    ],
)
def test_one_that_stays_busy_or_refuses_is_an_error(service: HTTPServer, codes: list[int]) -> None:
    service.codes = list(codes)  # type: ignore[attr-defined]
    with pytest.raises(SmokeTestError, match=str(codes[0])):
        smoke_test(url(service), [PICTURE])
    assert service.codes == []  # type: ignore[attr-defined]
