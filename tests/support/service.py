"""The service as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cascade.api.process import readiness
from cascade.process.ready import free_port
from cascade.release.store import Release
from tests.support import tiny


@contextmanager
def served(release: Release, folder: Path, port: int, **serve: object) -> Iterator[str]:
    """Serve a release until the end of the block, with a log in a folder; gives the address.

    Args:
        release: verified.
        folder: of the log.
        port: the first that is tried.
        serve: keys of section `serve`.
    """
    port = free_port("127.0.0.1", port)
    url = f"http://127.0.0.1:{port}"
    # on a busy machine a stage takes longer than `timeouts` allows
    limits = dict.fromkeys(("classifier", "detectors", "ocr"), 8.0)
    given = {"port": port, "deadline_seconds": 8.5, **serve}
    params = tiny.runtime_params(serve=given, timeouts=limits).model_dump_json()
    with started(release, folder / "service.log", url, params):
        yield url


@contextmanager
def started(release: Release, log: Path, url: str, params: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start the service with parameters as JSON, wait until it is ready at an address, and kill it in the end."""
    command = [sys.executable, "-m", "cascade.api.app", "--release", str(release.folder), "--params", params]
    environment = {name: value for name, value in os.environ.items() if name != "STREETVISION_API_KEY"}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment) as child,
    ):
        try:
            while readiness(url) != ("ready", release.id):
                assert child.poll() is None, log.read_text()
                time.sleep(0.1)
            yield child
        finally:
            child.kill()
