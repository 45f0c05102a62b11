"""A flow where the user has a proxy, a Prefect profile and the address of another server: none of them is reached."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FLOW = """
import flows
from prefect import flow, get_client
from prefect.settings import PREFECT_API_URL

@flow
def toy():
    return 7

print(PREFECT_API_URL.value(), toy())
"""


class Recorder(BaseHTTPRequestHandler):
    """Counts requests and answers none of them well."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.send_error(500)

    do_POST = do_CONNECT = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """The address of another server, and what it was asked for."""
    handler = type("Seen", (Recorder,), {"seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler.seen
        server.shutdown()


def test_a_flow_runs_on_its_own_server(tmp_path: Path, elsewhere: tuple[str, list[str]]) -> None:
    """All at once, since each start of Prefect's server takes many seconds."""
    address, seen = elsewhere
    home = tmp_path / "home"
    (home / ".prefect").mkdir(parents=True)
    profile = f'active = "cloud"\n[profiles.cloud]\nPREFECT_API_URL = "{address}/api"\nPREFECT_API_KEY = "secret"\n'
    (home / ".prefect" / "profiles.toml").write_text(profile, encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env |= {
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_API_KEY": "secret",
    }
    env |= dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"), address)
    (tmp_path / "prefect.toml").write_bytes((ROOT / "prefect.toml").read_bytes())
    (tmp_path / "toy.py").write_text(FLOW, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "toy.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "7"
    assert address not in done.stdout
    assert seen == []
