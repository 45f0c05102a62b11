"""A Postgres of the system's package, on a free port; it asks for a password."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD = "postgres", "a/b@c:d"
# it refuses to run as root
AS_USER = ("runuser", "-u", USER, "--") if os.getuid() == 0 else ()


def programs() -> Path | None:
    """The folder of the newest installed version's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


@contextmanager
def database_server(*databases: str) -> Iterator[int]:
    """Run a cluster in a new folder with these databases; gives its port."""
    bin_ = programs()
    assert bin_ is not None
    # pytest's folders are closed to other users
    data = Path(tempfile.mkdtemp(prefix="postgres-"))
    if AS_USER:
        shutil.chown(data, USER)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    word = data.with_suffix(".word")
    word.write_text(PASSWORD, encoding="utf-8")
    if AS_USER:
        shutil.chown(word, USER)
    _run(bin_ / "initdb", "--auth=scram-sha-256", f"--username={USER}", f"--pwfile={word}", "--no-sync", "-D", data)
    word.unlink()
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off"
    _run(bin_ / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start")
    try:
        for name in databases:
            _run("env", f"PGPASSWORD={PASSWORD}", bin_ / "createdb", "-h", "127.0.0.1", "-p", port, "-U", USER, name)
        yield port
    finally:
        _run(bin_ / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(data)


def _run(*command: object) -> None:
    # its own folder is not readable for the user
    subprocess.run([*AS_USER, *map(str, command)], check=True, cwd="/", stdout=subprocess.DEVNULL)
