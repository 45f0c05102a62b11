"""The service and nginx, as real HTTP servers say it: whether both lead to the release that is noted."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cascade.api.process import STATE, ServiceState
from cascade.process import tree
from cascade.process.record import folder_of
from deploy.nginx.front import NOTE, PREFIX, FrontRecord
from tasks.config import load_params
from tasks.doctor.registry import Context
from tasks.doctor.serving import service
from tests.support.paths import ROOT

LIVE, OTHER = "a" * 12, "b" * 12


@contextmanager
def answering(status: str, release: str) -> Iterator[str]:
    """A server whose /readyz says this; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"status": status, "release": release}).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def note(url: str, private: str | None) -> None:
    """Note this process as the service."""
    STATE.parent.mkdir(exist_ok=True)
    started = tree.started_at(os.getpid()) or 0.0
    state = ServiceState(
        pid=os.getpid(), started=started, folder=folder_of(STATE), port=1, release=LIVE, url=url, private=private
    )
    state.write(STATE)


def note_nginx() -> None:
    """Note this process as nginx."""
    PREFIX.mkdir()
    path = PREFIX / NOTE
    started = tree.started_at(os.getpid()) or 0.0
    FrontRecord(pid=os.getpid(), started=started, folder=folder_of(path), config="", port=1, wanted=1).write(path)


@pytest.mark.parametrize(
    ("own", "front", "nginx_runs", "expected", "words"),
    [
        (("ready", LIVE), None, False, ["ok"], ""),  # no front
        (("ready", OTHER), None, False, ["error"], f"with release {OTHER}"),
        (("loading", LIVE), None, False, ["error"], "is loading"),
        (None, None, False, ["error"], "does not answer"),
        (("ready", LIVE), ("ready", LIVE), True, ["ok", "ok"], ""),
        (("ready", LIVE), ("ready", OTHER), True, ["ok", "error"], f"leads to release {OTHER}"),
        (("ready", LIVE), None, True, ["ok", "error"], "leads to release nothing"),
        (("ready", LIVE), None, False, ["ok", "error"], "has ended"),
    ],
)
def test_service_and_nginx(
    own: tuple[str, str] | None,
    front: tuple[str, str] | None,
    nginx_runs: bool,
    expected: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    nobody = "http://127.0.0.1:9"
    with ExitStack() as stack:
        private = stack.enter_context(answering(*own)) if own else nobody
        public = stack.enter_context(answering(*front)) if front else nobody
        behind = len(expected) == 2
        note(public if behind else private, private if behind else None)
        if nginx_runs:
            note_nginx()
        found = list(service(Context(load_params(ROOT / "params.yaml"), float("inf"))))
    assert [one.state for one in found] == expected
    assert words in found[-1].sentence


def test_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    context = Context(None, float("inf"))
    assert [one.state for one in service(context)] == ["not asked"]
    releases = tmp_path / "models/releases"
    releases.mkdir(parents=True)
    (releases / "champion").symlink_to(LIVE)
    assert [one.state for one in service(context)] == ["warning"]
    # the note of another folder
    note("http://127.0.0.1:9", None)
    STATE.write_text(STATE.read_text().replace(folder_of(STATE), "/elsewhere/var"))
    assert "/elsewhere" in next(iter(service(context))).sentence
