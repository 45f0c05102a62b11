"""The server of a run that brings its own starts beside what the run does first, with the real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]

USED = """
import time
from prefect import flow, get_client
from flows.server.start import server_starting

@flow
def answer():
    return 42

with server_starting():
    time.sleep(0.1)
with get_client(sync_client=True) as client:
    print("healthy:", client.api_healthcheck() is None)
print("flow:", answer())
"""
BROKEN = """
from flows.server.start import server_starting

try:
    with server_starting():
        print("the block runs")
    print("not what follows")
except RuntimeError as error:
    print(str(error).splitlines()[0])
"""
ENDED = """
import sys
from flows.server.start import server_starting

with server_starting():
    sys.exit("error: one line")
"""


def run(code: str, folder: Path, **further: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "prefect.toml", folder)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "STREETVISION_"))}
    env = {**ours, "PYTHONPATH": str(ROOT), **further}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, timeout=240, check=False
    )


def test_one_server_is_started_and_used(tmp_path: Path) -> None:
    ran = run(USED, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["healthy: True", "flow: 42"]
    assert ran.stderr.count("Starting temporary server") == 1


def test_a_server_that_does_not_start_is_an_error_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    # its database is a folder
    database = f"sqlite+aiosqlite:///{tmp_path / 'folder'}"
    limit = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "10"}
    ran = run(BROKEN, tmp_path, PREFECT_SERVER_DATABASE_CONNECTION_URL=database, **limit)
    first, second = ran.stdout.splitlines()[:2]
    assert first == "the block runs"
    assert "ephemeral Prefect API server" in second


def test_an_error_of_the_block_does_not_wait_for_the_server(tmp_path: Path) -> None:
    ran = run(ENDED, tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == "error: one line"
    # and the server does not outlive the run
    assert not [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(tmp_path)]
