"""DVC's remotes: whether they can be reached, and what of the last run they do not have yet."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import Context, check

DVC, LOCK = Path(".dvc"), Path("dvc.lock")
PUSH = "`dvc push`; without it this machine alone has the data and models of its last run"
LEAST_SECONDS, CONNECT_SECONDS = 3.0, 3.0
PORTS = {"http": 80, "https": 443, "webdav": 80, "webdavs": 443, "ssh": 22}


@check("DVC remotes")
def remotes(context: Context) -> Iterator[Finding]:
    """A folder is looked at; of a cloud DVC itself is asked, as far as the time goes."""
    from dvc.config import Config, ConfigError

    if not DVC.is_dir():
        yield not_asked("this folder is no DVC repository")
        return
    try:
        known = Config(str(DVC.resolve()))["remote"]
    except ConfigError as failure:
        yield error(f"DVC's configuration cannot be read: {failure}", "correct .dvc/config and .dvc/config.local")
        return
    if not known:
        yield warning(
            "DVC has no remote: this machine alone has data and models", "`dvc remote add -d NAME URL`, then `dvc push`"
        )
    for name, settings in known.items():
        url = str(settings.get("url", ""))
        if "://" not in url:
            yield _folder(name, Path(url))
        elif (host := host_of(url, settings.get("endpointurl"))) and not _connects(*host):
            yield error(
                f"remote {name} ({url}): {host[0]}:{host[1]} cannot be reached", "network, address, or the server there"
            )
        else:
            yield _cloud(name, url, context.deadline)


def outputs(lock: Path = LOCK) -> dict[str, str]:
    """Path by object id of what stages and `*.dvc` files have written."""
    documents = [lock, *Path("data").glob("**/*.dvc")]
    found: dict[str, str] = {}
    for file in documents:
        if not file.is_file():
            continue
        document: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader) or {}
        for stage in (document, *document.get("stages", {}).values()):
            found |= {one["md5"]: str(one["path"]) for one in stage.get("outs", ()) if "md5" in one}
    return found


def host_of(url: str, endpoint: str | None) -> tuple[str, int] | None:
    """Host and port behind a remote; None where its address does not say. DVC takes one that is down for an empty one.

    Args:
        url: of the remote.
        endpoint: `endpointurl`, which S3-like servers have.
    """
    found = urlsplit(endpoint or ("https://s3.amazonaws.com" if url.startswith("s3://") else url))
    port = found.port or PORTS.get(found.scheme)
    return (found.hostname, port) if found.hostname and port else None


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _folder(name: str, folder: Path) -> Finding:
    place = f"remote {name} ({folder})"
    if not folder.is_dir():
        return error(f"{place}: no such folder", "mount the disk, or `dvc push` makes a folder that was never there")
    if not os.access(folder, os.W_OK):
        return error(f"{place}: not writable", "let this user write to it")
    # DVC writes the list of a folder after its files, so that the list alone shows that all is there
    wanted = outputs()
    absent = [path for md5, path in wanted.items() if not (folder / "files/md5" / md5[:2] / md5[2:]).exists()]
    return _pushed(place, absent, len(wanted))


def _cloud(name: str, url: str, deadline: float) -> Finding:
    place, left = f"remote {name} ({url})", deadline - time.monotonic() - 1
    again = f"`dvc status --cloud --remote {name}` asks without a limit"
    if left < LEAST_SECONDS:
        return not_asked(f"{place}: DVC needs more than {left:.1f} s", again)
    command = [sys.executable, "-m", "dvc", "status", "--cloud", "--remote", name, "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=left)
    except subprocess.TimeoutExpired:
        return not_asked(f"{place}: no answer within {left:.0f} s", again)
    if done.returncode:
        reason = " ".join(done.stderr.split())[-300:]
        return error(f"{place} cannot be reached: {reason}", "address, network and credentials: `dvc remote list`")
    status: dict[str, str] = json.loads(done.stdout or "{}")
    return _pushed(place, [path for path, state in status.items() if state == "new"], None)


def _pushed(place: str, absent: list[str], total: int | None) -> Finding:
    if absent:
        of = f" of {total}" if total else ""
        return warning(f"{place} lacks {len(absent)}{of} outputs: {', '.join(sorted(absent)[:4])}", PUSH)
    return ok(f"{place} has all outputs of the last run")
