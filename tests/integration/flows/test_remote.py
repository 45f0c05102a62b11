"""DVC's remote: a run pushes what it made, to an S3 on loopback too; what is refused is named."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.dvc import remote
from flows.dvc.remote import RemoteError, default_remote, pull_outputs, push_outputs

pytestmark = [pytest.mark.integration, pytest.mark.slow]
PIPELINE = """
stages:
  train:
    cmd: python -c "open('head.txt', 'w').write('weights')"
    outs: [head.txt]
"""


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of an S3 with a bucket named `models`."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket="models")
        yield url
    finally:
        server.stop()


@pytest.fixture
def repository(dvc_repository: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = dvc_repository(PIPELINE)
    dvc(folder, "repro", "--quiet")
    # outside of a run there is no run's log
    monkeypatch.setattr(remote, "get_run_logger", lambda: logging.getLogger("test"))
    return folder


def dvc(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, capture_output=True)


def test_s3(repository: Path, s3: str) -> None:
    dvc(repository, "remote", "add", "--default", "store", "s3://models/streetvision")
    settings = {"endpointurl": s3, "access_key_id": "a", "secret_access_key": "b", "region": "us-east-1"}
    for key, value in settings.items():
        dvc(repository, "remote", "modify", "--local", "store", key, value)
    push_outputs.fn(repository, "store")
    lost(repository)
    lines: list[Any] = []
    pull_outputs(repository, ["head.txt"], lines.append)
    assert (repository / "head.txt").read_text() == "weights"
    assert lines


def lost(repository: Path) -> None:
    """The file and the cache are gone."""
    (repository / "head.txt").unlink()
    shutil.rmtree(repository / ".dvc" / "cache")


def test_a_remote_that_does_not_answer_is_named(repository: Path) -> None:
    assert default_remote(repository) is None
    with pytest.raises(RemoteError, match="no default remote"):
        pull_outputs(repository, ["head.txt"], print)
    dvc(repository, "remote", "add", "--default", "store", "/proc/store")
    assert default_remote(repository) == "store"
    with pytest.raises(RemoteError, match="dvc push --remote store: ERROR"):
        push_outputs.fn(repository, "store")
