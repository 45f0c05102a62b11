"""The real mongod: down, damaged, shared by processes, gone after the last of them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tasks.mining import database, mongod
from tasks.mining.database import DatabaseDown, connect
from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
# connects as `connect` does, without FiftyOne, which takes long to load
CLIENT = """
import sys
from pathlib import Path
from tasks.mining.database import _own
print(_own(Path(sys.argv[1])).split(":")[2].split("/")[0], flush=True)
sys.stdin.read()
"""


@contextmanager
def client(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that has the database open; gives it and the port."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", CLIENT, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until_closed(port: int) -> None:
    deadline = time.monotonic() + 60
    while listens(port):
        assert time.monotonic() < deadline, "mongod is still there"
        time.sleep(0.1)


@pytest.mark.slow
def test_external_database_that_is_down(tmp_path: Path) -> None:
    with closing(socket.socket()) as held:
        # bound and not listening: nobody else can take the port meanwhile
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        with pytest.raises(DatabaseDown, match="does not answer") as caught:
            connect(tmp_path, f"mongodb://me:secret@127.0.0.1:{port}")
    assert str(port) in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("uri", ["mongodb://", "nonsense", "mongodb://127.0.0.1:notaport"])
def test_address_that_is_none(tmp_path: Path, uri: str) -> None:
    with pytest.raises(DatabaseDown, match="refused"):
        connect(tmp_path, uri)


def test_mongod_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(database, "_executable", lambda: "/bin/false")
    with pytest.raises(DatabaseDown, match=r"did not start .* it left no log"):
        connect(tmp_path)


def test_no_mongod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DatabaseDown, match="uv sync"):
        connect(tmp_path)


@pytest.mark.slow
def test_shared_and_gone_after_the_last_even_when_killed(tmp_path: Path) -> None:
    with client(tmp_path) as (first, port), client(tmp_path) as (second, same):
        assert port == same
        first.kill()
        first.wait()
        # the supervisor checks twice a second
        time.sleep(3 * mongod.POLL_SECONDS)
        assert listens(port)
        second.send_signal(signal.SIGKILL)
        second.wait()
        wait_until_closed(port)
    # and it starts again over the same files
    with client(tmp_path) as (_, port):
        assert listens(port)
    wait_until_closed(port)


@pytest.mark.slow
def test_other_folder_other_database(tmp_path: Path) -> None:
    with client(tmp_path / "a") as (_, first), client(tmp_path / "b") as (_, second):
        assert first != second
        # an address that is out of date, and by now another database's
        (tmp_path / "b" / mongod.ADDRESS).write_text(json.dumps({"port": first}), encoding="utf-8")
        assert database._running(tmp_path / "b") is None
        assert database._running(tmp_path / "a") == first


@pytest.mark.slow
@pytest.mark.parametrize(
    "above",
    [
        # the guard, which is mongod's parent
        pytest.param(1, marks=pytest.mark.slow),
        # the guard's owner, which watches the clients
        2,
    ],
)
def test_killed_supervisor_takes_mongod_with_it(tmp_path: Path, above: int) -> None:
    import psutil

    with client(tmp_path) as (_, port):
        server = psutil.Process(json.loads((tmp_path / mongod.ADDRESS).read_text())["pid"])
        supervisor = server.parents()[above - 1]
        assert ("tasks.mining.mongod" in supervisor.cmdline()) == (above == 2)
        supervisor.kill()
        wait_until_closed(port)
    with client(tmp_path) as (_, again):
        assert listens(again)
