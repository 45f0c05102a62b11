"""Waiting for a process that starts, against real processes and a real server."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cascade.process.ready import NotReadyError, answers, bindable, free_port, listens, wait_ready
from cascade.process.supervisor import Supervised


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("script", "seconds", "message"),
    [
        # it ends before it is ready: its code and its last words, without the secret
        (
            "echo starting; echo no disk left for s3cret; exit 3",
            20.0,
            r"ended with code 3 .*starting\nno disk left for \*\*\*$",
        ),
        # an end without a word
        ("kill -9 $$", 20.0, r"ended with code -9 .*it wrote nothing"),
        # it is slower than it may be
        ("echo loading; sleep 60", 0.3, r"not ready after 0.3 s.*loading"),
    ],
)
def test_a_process_that_does_not_get_ready(tmp_path: Path, script: str, seconds: float, message: str) -> None:
    log = tmp_path / "log"
    with Supervised(["sh", "-c", script], log=log) as child, pytest.raises(NotReadyError) as caught:
        wait_ready(child, lambda: None, seconds, log, hidden="s3cret")
    assert re.search(f"(?s){message}", str(caught.value))
    assert str(log) in str(caught.value)


def test_what_the_probe_finds_is_given() -> None:
    found = iter([None, 0, 7])
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert wait_ready(process, lambda: next(found), 20.0, step=0.0) == 7
        process.kill()


def test_a_proxy_does_not_stand_between_this_machine_and_itself(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert answers(f"http://127.0.0.1:{port}/health")


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("/health", True),
        # it answers, and is not ready
        ("/other", False),
    ],
)
def test_answers(port: int, path: str, good: bool) -> None:
    assert answers(f"http://127.0.0.1:{port}{path}") == good


def test_nobody_there() -> None:
    port = free_port()
    assert not answers(f"http://127.0.0.1:{port}/")
    assert not listens(port)


def test_a_port_that_is_taken(port: int) -> None:
    assert listens(port)
    with pytest.raises(OSError, match="in use"):
        bindable("127.0.0.1", port)
    assert free_port(wanted=port) > port
    assert free_port() != port
    # an address of no machine: none is free
    with pytest.raises(OSError, match="no free port"):
        free_port("192.0.2.1", 18700)


def test_ipv6() -> None:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        assert bindable("::1", 0) > 0
