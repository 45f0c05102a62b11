"""An S3 with its objects as files: nanio, which checks signatures; it can be stopped and started over its folder."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from types import TracebackType

from cascade.process.ready import wait_ready
from cascade.process.supervisor import Supervised
from tasks.config import ObjectStoreParams

KEY, SECRET = "key-of-tests", "word-of-tests"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}
BUCKET = "models"
# what is changed of the credentials, and what is said then
WRONG_CREDENTIALS = [
    # no key at all
    ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    # a key that the store does not know
    ({"AWS_ACCESS_KEY_ID": "other"}, "InvalidAccessKeyId.*correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    # a secret that is not the key's
    (
        {"AWS_SECRET_ACCESS_KEY": "other"},  # pragma: allowlist secret
        "SignatureDoesNotMatch.*correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
]


class ObjectStore:
    """A server over a folder; the bucket is made at the start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._server: Supervised | None = None

    def params(self, seconds: float = 0) -> ObjectStoreParams:
        """The settings of its bucket."""
        return ObjectStoreParams(bucket=BUCKET, endpoint=self.endpoint, wait_seconds=seconds)

    def start(self) -> None:
        """Start it over what the folder holds."""
        (self.folder / BUCKET).mkdir(parents=True, exist_ok=True)
        command = (
            *(sys.executable, "-m", "nanio", "serve", "--data-dir", str(self.folder), "--no-access-log"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
        )
        env = {**os.environ, "NANIO_ACCESS_KEY": KEY, "NANIO_SECRET_KEY": SECRET}
        log = self.folder.parent / f"{self.folder.name}.log"
        self._server = Supervised(command, env=env, log=log)
        wait_ready(self._server, lambda: _listens(self.port) or None, 30, log)

    def stop(self) -> None:
        """End it; its files stay."""
        if self._server:
            self._server.stop()
        self._server = None

    def objects(self) -> dict[str, bytes]:
        """Content by key."""
        bucket = self.folder / BUCKET
        files = (file for file in bucket.rglob("*") if file.is_file() and ".nanio-meta" not in file.parts)
        return {str(file.relative_to(bucket)): file.read_bytes() for file in files}

    def __enter__(self) -> ObjectStore:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
