"""The server's manager with real processes: whatever happens, none of them is left."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from cascade.process.card import CardMemory
from cascade.process.noted import NotedProcess
from cascade.process.tree import members
from cascade.vlm import server as server_module
from cascade.vlm.backend import ServerVlm
from cascade.vlm.base import Clip, VlmError
from cascade.vlm.server import KEY, PYTHON, VllmServer
from cascade.vlm.settings import ServerSettings
from tests.support.paths import ROOT
from tests.support.vlm_settings import SERVER, vlm_settings

DOUBLE = ROOT / "tests/support/vllm_double.py"


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter that runs the double whatever module it is told to."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} -S {DOUBLE} "$@"\n')
    script.chmod(0o700)
    monkeypatch.setenv(PYTHON, str(script))
    return script


@pytest.fixture
def server(vllm: Path, tmp_path: Path) -> Iterator[VllmServer]:
    made = VllmServer(
        "model", "vlm-image", ServerSettings.model_validate({**SERVER, "stop_seconds": 0.5}), None, tmp_path
    )
    yield made
    made.stop()


def test_start_check_sleep_wake_stop(server: VllmServer) -> None:
    assert not server.healthy()
    server.start()
    first = server.pid
    assert first is not None
    assert server.healthy()
    assert len(members(first)) == 2
    assert server.memory_bytes() > 1 << 20
    server.start()
    assert server.pid == first
    assert server.sleep()
    assert server.sleeping()
    assert server.wake()
    assert not server.sleeping()
    server.stop()
    assert members(first) == []
    assert not server.healthy()


def test_killed_and_started_again(server: VllmServer) -> None:
    server.start()
    first = server.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until_dead(server)
    server.start()
    assert server.healthy()
    assert server.pid != first
    assert members(first) == []


def test_stubborn_processes_are_killed(server: VllmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_DOUBLE", "stubborn")
    server.start()
    leader = server.pid
    assert leader is not None
    server.stop()
    assert members(leader) == []


@pytest.mark.parametrize("behaviour", ["no-sleep", "no-sleep-mode"])
def test_a_build_without_sleep_starts_and_says_no(
    server: VllmServer, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    """The routes may be missing, or the server may refuse to start with them."""
    monkeypatch.setenv("VLLM_DOUBLE", behaviour)
    server.start()
    assert not server.sleep()
    assert server.healthy()


@pytest.mark.parametrize(
    ("behaviour", "seconds", "message"),
    [
        # it ends by itself: the error shows why
        ("broken", 20.0, "no kernel image"),
        # it never answers
        ("never", 1.0, "not ready after 1 s"),
    ],
)
def test_a_start_that_fails_leaves_nothing(
    vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, seconds: float, message: str
) -> None:
    monkeypatch.setenv("VLLM_DOUBLE", behaviour)
    monkeypatch.setenv(KEY, "very-secret")
    settings = ServerSettings.model_validate({**SERVER, "start_seconds": seconds, "stop_seconds": 0.2})
    server = VllmServer("model", "vlm-image", settings, None, tmp_path)
    with pytest.raises(VlmError, match=message) as caught:
        server.start()
    assert "very-secret" not in str(caught.value)
    assert server.pid is None


def test_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, str(tmp_path / "nowhere"))
    server = VllmServer("model", "vlm-image", ServerSettings.model_validate(SERVER), None, tmp_path)
    with pytest.raises(VlmError, match="STREETVISION_VLLM"):
        server.start()


def test_what_a_killed_run_left_is_ended_by_the_next(vllm: Path, tmp_path: Path) -> None:
    """The first manager is forgotten, as after SIGKILL of its process."""
    settings = ServerSettings.model_validate({**SERVER, "stop_seconds": 0.2})
    first = VllmServer("model", "vlm-image", settings, None, tmp_path)
    first.start()
    left = first.pid
    assert left is not None
    second = VllmServer("model", "vlm-image", settings, None, tmp_path)
    second.start()
    assert members(left) == []
    assert second.healthy()
    second.stop()


def test_what_another_living_program_runs_is_left_alone(
    vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blue serves while green starts, from one folder."""
    settings = ServerSettings.model_validate({**SERVER, "stop_seconds": 0.2})
    parent = os.getppid()
    monkeypatch.setattr(os, "getpid", lambda: parent)
    blue = VllmServer("model", "vlm-image", settings, None, tmp_path)
    blue.start()
    monkeypatch.undo()
    monkeypatch.setenv(PYTHON, str(vllm))
    green = VllmServer("model", "vlm-image", settings, None, tmp_path)
    green.start()
    assert (blue.healthy(), green.healthy()) == (True, True)
    blue.stop()
    green.stop()


@pytest.mark.parametrize(
    "note",
    [
        # empty, of another shape, no numbers
        "",
        "{}",
        "[1]",
        '{"pid": "x", "born": "1", "owner": 1, "owner_born": "0"}',
        # an id that was given to another process since, here to this one
        pytest.param(f'{{"pid": {os.getpid()}, "born": "1", "owner": {os.getpid()}, "owner_born": "0"}}', id="ours"),
    ],
)
def test_a_note_that_names_no_process_of_ours_harms_nobody(tmp_path: Path, note: str) -> None:
    file = tmp_path / "vlm-image.1.process.json"
    file.write_text(note)
    NotedProcess(tmp_path, "vlm-image").end_leftovers()
    assert not file.exists()


def test_the_key_stays_off_the_command_line_and_others_secrets_at_home(tmp_path: Path) -> None:
    server = VllmServer("repo/model", "vlm-image", ServerSettings.model_validate(SERVER), "a" * 40, tmp_path)
    command = server.command()
    assert server.key not in " ".join(command)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--revision") + 1] == "a" * 40
    assert "--trust-remote-code" not in command
    environment = server.environment({"PATH": "/bin", "HF_TOKEN": "t", "STREETVISION_API_KEY": "k", "VLLM_X": "1"})
    assert environment["VLLM_API_KEY"] == server.key
    assert not {"HF_TOKEN", "STREETVISION_API_KEY"} & environment.keys()
    assert environment["VLLM_X"] == "1"


GIB = 1 << 30


@pytest.mark.parametrize(
    ("booked", "given", "card", "share"),
    [
        # what is set aside over the card, never more of it: 13.4 of 23.5, and of 80
        (13.4, None, 23.5, 0.57),
        (13.4, None, 80, 0.167),
        # a share that is given stands
        (13.4, 0.6, 23.5, 0.6),
        # on a processor there is no card to share
        (None, None, None, None),
        (None, 0.6, None, 0.6),
    ],
)
def test_the_share_of_the_card_follows_from_what_is_set_aside(
    monkeypatch: pytest.MonkeyPatch, booked: float | None, given: float | None, card: float | None, share: float | None
) -> None:
    monkeypatch.setattr(server_module, "card_memory", lambda: CardMemory(0, int(card * GIB)) if card else None)
    settings = ServerSettings.model_validate({**SERVER, "gpu_memory_utilization": given})
    made = VllmServer("model", "vlm-image", settings, booked=None if booked is None else int(booked * GIB))
    command = made.command()
    found = float(command[command.index("--gpu-memory-utilization") + 1]) if share else None
    assert found == share
    assert ("--gpu-memory-utilization" in command) == (share is not None)


@pytest.mark.parametrize(
    ("booked", "card", "message"),
    [
        # a service that goes on on the processor would not say so
        (8, None, "no graphics card answers"),
        # nothing set aside, and a sleeping server that takes more than all
        (0, 24, r"memory_gib leaves 0\.0 GiB"),
        (-1, 24, r"memory_gib leaves -1\.0 GiB"),
        (30, 24, r"leaves 30\.0 GiB for vLLM, and the card has 24\.0"),
    ],
)
def test_what_no_card_can_give_is_refused(
    monkeypatch: pytest.MonkeyPatch, booked: float, card: float | None, message: str
) -> None:
    monkeypatch.setattr(server_module, "card_memory", lambda: CardMemory(0, int(card * GIB)) if card else None)
    settings = ServerSettings.model_validate({**SERVER, "gpu_memory_utilization": None})
    with pytest.raises(VlmError, match=message):
        VllmServer("model", "vlm-image", settings, booked=int(booked * GIB)).command()


@pytest.mark.parametrize(
    ("taken", "runs_on", "size"),
    [
        # as booked; more than was booked; a build of vLLM for processors, which takes nothing of the card
        (9.0, "cuda", 12.0),
        (13.0, "cuda", 13.0),
        (0.0, "cpu", 12.0),
    ],
)
def test_servers_are_measured_on_the_card(
    vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: float, runs_on: str, size: float
) -> None:
    seen: list[set[int]] = []

    def card(pids: Collection[int] | None = None) -> CardMemory:
        """A driver that counts the processes of both servers together."""
        seen.append(set(pids or ()))
        return CardMemory(int(20 * GIB), 24 * GIB, int(taken * GIB) if pids else None)

    monkeypatch.setattr(server_module, "card_memory", lambda: CardMemory(0, 24 * GIB))
    monkeypatch.setattr("cascade.process.memory.card_memory", card)
    given = {**SERVER, "memory_gib": 12.0, "sleeping_gib": 1.0, "gpu_memory_utilization": None, "stop_seconds": 0.5}
    settings = vlm_settings(backend="server", device="cuda", clip_model={"folder": "clip"}, server=given)
    backend = ServerVlm(tmp_path, settings, tmp_path / "state")
    assert (backend.runs_on, backend.memory_bytes) == ("cuda", 12 * GIB)
    backend.load()
    try:
        assert (backend.runs_on, backend.memory_bytes) == (runs_on, int(size * GIB))
        assert seen[0] == set()
        leaders = {one.pid for one in backend.servers.values()}
        assert leaders <= seen[-1]
        # a server that is awake already is measured no second time
        count = len(seen)
        backend.load()
        assert (backend.runs_on, len(seen)) == (runs_on, count + 1)
    finally:
        backend.close()


def test_the_engine_of_a_killed_server_ends(server: VllmServer) -> None:
    """It would keep the card's memory."""
    server.start()
    leader = server.pid
    assert leader is not None
    engine = members(leader)
    os.kill(leader, signal.SIGKILL)
    assert psutil.wait_procs(engine, timeout=10)[1] == []


def wait_until_dead(server: VllmServer) -> None:
    for _ in range(200):
        if not server.healthy():
            return
        time.sleep(0.02)
    raise AssertionError("the server still answers")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "clips"),
    [
        # both sleep: one wakes when the other rests, and back
        ("good", "malformed"),
        # no sleep mode: the server for clips is not kept, and clips are not judged
        ("no-sleep-mode", "off"),
    ],
)
def test_two_servers_take_turns(
    vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, clips: str
) -> None:
    """The double answers a question with nothing, which is malformed: it was reached."""
    monkeypatch.setenv("VLLM_DOUBLE", behaviour)
    server = {**SERVER, "stop_seconds": 0.2}
    settings = vlm_settings(backend="server", clip_model={"folder": "clips"}, server=server, time_limit_seconds=5.0)
    backend = ServerVlm(tmp_path, settings, tmp_path)
    picture = Image.new("RGB", (16, 16))
    try:
        backend.load()
        said = backend.run([picture, Clip((picture,), 1.0), picture])
        assert [answer.kind for answer in said] == ["malformed", clips, "malformed"]
        assert backend.servers["vlm-image"].healthy()
        assert not backend.servers["vlm-image"].sleeping()
        assert backend.servers["vlm-clip"].sleeping() == (behaviour == "good")
        backend.rest()
        assert backend.servers["vlm-image"].sleeping() == (behaviour == "good")
        backend.load()
        assert [answer.kind for answer in backend.run([picture])] == ["malformed"]
    finally:
        backend.close()
    assert [server.pid for server in backend.servers.values()] == [None, None]
