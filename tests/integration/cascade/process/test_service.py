"""Starting, finding, replacing and stopping the service process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade.api.auth import ServiceError
from cascade.process.service import ServiceState, free_port, readiness, start, started_at, status, stop
from cascade.release.build import build_release
from cascade.release.store import ReleaseError, set_champion
from tests.support import tiny

pytestmark = pytest.mark.integration


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "var" / "service.json"
    yield path
    stop(path)


def another_release(root: Path) -> str:
    (root / "metrics.json").write_text(json.dumps({"mcc": 0.5}))
    release = build_release(root / "classifier", root / "metrics.json", root / "releases", revision={"data": "e"})
    return set_champion(root / "releases", release.id).id


def test_no_champion_no_service(tmp_path: Path, state: Path) -> None:
    with pytest.raises(ServiceError, match="no champion"):
        start(tmp_path / "releases", tiny.runtime_params(), state)
    assert status(state) is None


def test_an_altered_champion_is_not_started(tmp_path: Path, state: Path) -> None:
    release = tiny.write_release(tmp_path)
    (release.folder / "gate.json").write_text("{}")
    with pytest.raises(ReleaseError, match="altered"):
        start(tmp_path / "releases", tiny.runtime_params(), state)
    assert status(state) is None


def test_a_model_that_does_not_load_is_reported_and_ended(tmp_path: Path, state: Path) -> None:
    tiny.write_release(tmp_path, gain=float("nan"))
    with pytest.raises(ServiceError, match="finite logits"):
        start(tmp_path / "releases", tiny.runtime_params(serve={"port": free_port("127.0.0.1", 18300)}), state)
    assert status(state) is None


@pytest.mark.parametrize(
    "noted",
    [
        "",
        "{",
        '{"pid": 1}',
        # a pid that is not there, and our own pid noted with another start
        '{"pid": 4194304, "port": 1, "release": "r", "url": "u", "started": 1}',
        pytest.param(f'{{"pid": {os.getpid()}, "port": 1, "release": "r", "url": "u", "started": 1}}', id="ours"),
    ],
)
def test_a_stale_note_is_no_service_and_nobody_is_signalled(state: Path, noted: str) -> None:
    state.parent.mkdir()
    state.write_text(noted)
    assert status(state) is None
    assert stop(state) is False
    assert not state.exists()


def test_an_ended_child_counts_as_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert started_at(child.pid) is None


def test_the_next_free_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", free_port("127.0.0.1", 18400))) as holder:
        taken = holder.getsockname()[1]
        assert free_port("127.0.0.1", taken) > taken


def test_start_keep_replace_stop(tmp_path: Path, state: Path) -> None:
    release = tiny.write_release(tmp_path)
    wanted = free_port("127.0.0.1", 18500)
    with socket.create_server(("127.0.0.1", wanted)):
        first = start(tmp_path / "releases", tiny.runtime_params(serve={"port": wanted}), state)
    assert first.port > wanted
    assert readiness(first.url) == ("ready", release.id)
    assert ServiceState.model_validate_json(state.read_text()) == status(state) == first

    # healthy and of the same release: untouched
    assert start(tmp_path / "releases", tiny.runtime_params(serve={"port": wanted}), state) == first

    other = another_release(tmp_path)
    second = start(tmp_path / "releases", tiny.runtime_params(serve={"port": wanted}), state)
    assert (second.release, readiness(second.url)) == (other, ("ready", other))
    assert started_at(first.pid) is None

    os.kill(second.pid, 9)
    while started_at(second.pid) is not None:
        pass
    assert status(state) is None
    third = start(tmp_path / "releases", tiny.runtime_params(serve={"port": wanted}), state)
    assert readiness(third.url) == ("ready", other)

    assert stop(state) is True
    assert started_at(third.pid) is None
    assert readiness(third.url) is None
    assert stop(state) is False


def test_the_service_outlives_its_starter(tmp_path: Path, state: Path) -> None:
    tiny.write_release(tmp_path)
    settings = tiny.runtime_params(serve={"port": free_port("127.0.0.1", 18600)}).model_dump_json()
    code = (
        "import sys; from pathlib import Path;"
        "from cascade.process.service import start; from cascade.config import RuntimeParams;"
        "start(Path(sys.argv[1]), RuntimeParams.model_validate_json(sys.argv[2]), Path(sys.argv[3]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "releases"), settings, str(state)], check=True)
    running = status(state)
    assert running is not None
    assert readiness(running.url) == ("ready", running.release)
    assert os.getsid(running.pid) == running.pid != os.getsid(0)
