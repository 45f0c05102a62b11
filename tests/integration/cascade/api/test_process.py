"""Starting, finding, replacing and stopping the service process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade.api.auth import ServiceError
from cascade.api.process import ServiceState, copied, launch, readiness, running, set_live, status, stop
from cascade.process.ready import free_port
from cascade.process.tree import find, started_at
from cascade.release.build import build_release
from cascade.release.store import Release
from tests.support import tiny

pytestmark = pytest.mark.integration


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "var" / "service.json"
    yield path
    stop(path)


def another_release(root: Path) -> Release:
    (root / "metrics.json").write_text(json.dumps({"mcc": 0.5}))
    return build_release(root / "classifier", root / "metrics.json", root / "releases", revision={"data": "e"})


def test_an_altered_release_is_not_served(tmp_path: Path, state: Path) -> None:
    """The service compares digests itself, whatever its starter has verified."""
    release = tiny.write_release(tmp_path)
    (release.folder / "gate.json").write_text("{}")
    with pytest.raises(ServiceError, match="altered"):
        launch(release, tiny.runtime_params(), state.parent / "services")
    assert running(state.parent / "services") == []


@pytest.mark.parametrize("key", ["", "secret"])
def test_a_model_that_does_not_load_is_reported_and_ended(
    tmp_path: Path, state: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service with a key gives the reason to its holder alone; the log has it."""
    monkeypatch.setenv("STREETVISION_API_KEY", key)
    release = tiny.write_release(tmp_path, gain=float("nan"))
    with pytest.raises(ServiceError, match="finite logits"):
        launch(release, tiny.runtime_params(), state.parent / "services")
    assert [path.name for path in (state.parent / "services").iterdir()] == [f"{release.id}.log"]


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


def test_the_next_free_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", free_port("127.0.0.1", 18400))) as holder:
        taken = holder.getsockname()[1]
        assert free_port("127.0.0.1", taken) > taken


@pytest.mark.slow
def test_two_beside_each_other_and_the_live_one(tmp_path: Path, state: Path) -> None:
    services, release = state.parent / "services", tiny.write_release(tmp_path)
    wanted = free_port("127.0.0.1", 18500)
    with socket.create_server(("127.0.0.1", wanted)):
        first = launch(release, tiny.runtime_params(serve={"port": wanted}), services)
    assert first.port > wanted
    assert readiness(first.url) == ("ready", release.id)
    live = set_live(first, state=state)
    assert ServiceState.model_validate_json(state.read_text()) == status(state) == live
    assert (live.url, live.private) == (first.url, None)

    other = another_release(tmp_path)
    second = launch(other, tiny.runtime_params(), services)
    assert {one.release for one in running(services)} == {release.id, other.id}
    assert [readiness(one.url) for one in (first, second)] == [("ready", release.id), ("ready", other.id)]
    behind = set_live(second, "http://127.0.0.1:1", state)
    assert (behind.url, behind.address) == ("http://127.0.0.1:1", second.url)

    # a copy of the folder is another one: its notes name no service of its own, and stopping there ends none
    copy = tmp_path / "copy" / "var"
    shutil.copytree(state.parent, copy)
    noted = copied(copy / state.name)
    assert (noted, status(copy / state.name), running(copy / "services")) == (behind, None, [])
    assert stop(copy / state.name) is False
    assert readiness(second.url) == ("ready", other.id)

    os.kill(second.pid, 9)
    while started_at(second.pid) is not None:
        pass
    assert status(state) is None
    assert [one.release for one in running(services)] == [release.id]
    # what was there of a release is replaced
    again = launch(release, tiny.runtime_params(), services)
    assert started_at(first.pid) is None
    assert readiness(again.url) == ("ready", release.id)

    assert stop(state) is True
    assert started_at(again.pid) is None
    assert not list(services.glob("*.json"))
    assert stop(state) is False


def test_a_note_without_its_folder_is_that_of_before(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds clock ticks; its service runs in the folder that `var` lies in, and is ours to stop."""
    state.parent.mkdir()
    monkeypatch.chdir(state.parent.parent)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        ticks = round((started_at(child.pid) or 0) * os.sysconf("SC_CLK_TCK"))
        state.write_text(json.dumps({"pid": child.pid, "port": 1, "release": "r", "url": "u", "started": ticks}))
        running = status(state)
        assert running is not None
        assert find(running.pid, running.started)
        assert stop(state) is True
        assert child.wait() == -signal.SIGTERM


def test_make_stop_in_a_copy_says_whose_service_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.server.stop import main

    (tmp_path / "var").mkdir()
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        started = started_at(child.pid) or 0.0
        noted = ServiceState(pid=child.pid, started=started, folder="/original/var", port=1, release="r", url="u")
        noted.write(tmp_path / "var" / "service.json")
        main()
        assert child.poll() is None
        child.kill()
    assert f"process {child.pid} is the service of /original/var; `make stop` there" in capsys.readouterr().out


def test_the_service_outlives_its_starter(tmp_path: Path, state: Path) -> None:
    release = tiny.write_release(tmp_path)
    code = (
        "import sys; from pathlib import Path;"
        "from cascade.api.process import launch, set_live; from cascade.config import RuntimeParams;"
        "from cascade.release.store import load_release;"
        "state = Path(sys.argv[3]);"
        "params = RuntimeParams.model_validate_json(sys.argv[2]);"
        "set_live(launch(load_release(Path(sys.argv[1])), params, state.parent / 'services'), state=state)"
    )
    settings = tiny.runtime_params().model_dump_json()
    subprocess.run([sys.executable, "-c", code, str(release.folder), settings, str(state)], check=True)
    service = status(state)
    assert service is not None
    assert readiness(service.url) == ("ready", service.release)
    assert os.getsid(service.pid) == service.pid != os.getsid(0)
