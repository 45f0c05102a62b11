"""FiftyOne on a MongoDB: our own under var/, or an external one by `stores.mongodb`; one error when it is down."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cascade.extras import command
from cascade.process.ready import NotReadyError, wait_ready
from cascade.process.supervisor import start_detached
from tasks.common.files import read_json
from tasks.common.telemetry import switch_off
from tasks.mining import mongod
from tasks.stores.addresses import FIFTYONE_URI, how, retired

DATABASE = Path("var/fiftyone")
KEY = "stores.mongodb in params.yaml"
PORT = "FIFTYONE_PRIVATE_DATABASE_PORT"
WAIT_MS = 5000
# its import is read once, so these stand before it; what the user has set stays
SETTINGS = {
    "FIFTYONE_LOGGING_LEVEL": "ERROR",
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    # the mongod that ships with FiftyOne is the oldest that it accepts, and it says so each time
    "FIFTYONE_DATABASE_VALIDATION": "false",
}
_held: dict[Path, int] = {}
_connected: list[str] = []


class DatabaseDown(RuntimeError):
    """FiftyOne's database cannot be reached; the message says which and what to do."""


def connect(folder: Path = DATABASE, uri: str | None = None) -> Any:
    """Give the module `fiftyone`, connected; the database stays up as long as this process lives.

    Args:
        folder: of our own MongoDB; unused where there is a `uri`.
        uri: of an external one, from `mongodb_uri` of section `stores`.

    Raises:
        DatabaseDown: within seconds, where nothing answers or mongod does not start.
    """
    switch_off()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if uri is None and (line := retired(FIFTYONE_URI)):
        raise DatabaseDown(line)
    # before the slow import, so that the error of a database that is down comes at once
    address = external(uri) if uri else _own(folder.absolute())
    import fiftyone

    if _connected and _connected[0] != address:
        raise DatabaseDown(f"this process has the database at {_without_password(_connected[0])} open; start another")
    with plain_words(_without_password(uri) if uri else str(folder)):
        fiftyone.config.database_uri = address
        fiftyone.list_datasets()
    _connected[:] = [address]
    return fiftyone


@contextmanager
def plain_words(where: str = "the database") -> Iterator[None]:
    """Turn what MongoDB's client raises inside into DatabaseDown."""
    from pymongo.errors import ConnectionFailure, PyMongoError

    try:
        yield
    except (ConnectionFailure, ConnectionError) as error:
        raise DatabaseDown(_message(where, error)) from None
    except PyMongoError as error:
        raise DatabaseDown(f"FiftyOne's database refused: {error} ({how('mongodb')})") from None


def _message(where: str, error: object) -> str:
    return (
        f"FiftyOne's database does not answer at {where} ({str(error).split(',')[0]}). Start it, set {KEY} to one that "
        f"runs, or to null to use the one under {DATABASE}; nothing was lost, so run again then."
    )


def external(uri: str) -> str:
    """Ping a MongoDB that is not ours, and give its address with a time limit.

    Raises:
        DatabaseDown: it does not answer or refuses; names the key and the variable, and no password.
    """
    import pymongo

    address = uri
    if "serverselectiontimeoutms" not in uri.lower():
        join = "&" if "?" in uri else "?" if uri.count("/") > 2 else "/?"
        address = f"{uri}{join}serverSelectionTimeoutMS={WAIT_MS}"
    with plain_words(_without_password(uri)):
        try:
            client: pymongo.MongoClient[Any] = pymongo.MongoClient(address)
        except ValueError as error:
            raise DatabaseDown(f"{KEY} is refused: {error}") from None
        client.admin.command("ping")
        client.close()
    # what this process starts, such as the App's server, finds the database by it
    os.environ[FIFTYONE_URI] = address
    return address


def _without_password(uri: str) -> str:
    head, at, tail = uri.rpartition("@")
    return f"{head.split('//')[0]}//...@{tail}" if at else uri


def _own(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    if folder not in _held:
        # from here on the server does not stop, and one that is stopping has stopped
        _held[folder] = mongod.hold(folder / mongod.CLIENTS, fcntl.LOCK_SH)
    starting = mongod.hold(folder / "start.lock", fcntl.LOCK_EX)
    try:
        port = _running(folder) or _launch(folder)
    finally:
        os.close(starting)
    # what this process starts, such as the App's server, finds the database by it
    os.environ[PORT] = str(port)
    return f"mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS={WAIT_MS}"


def _running(folder: Path) -> int | None:
    """The port of a server over this very folder; a stale address may by now be another program's."""
    import pymongo
    from pymongo.errors import PyMongoError

    try:
        port = int(read_json(folder / mongod.ADDRESS)["port"])
    except (OSError, ValueError, KeyError):
        return None
    try:
        client: pymongo.MongoClient[Any]
        with pymongo.MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=2000) as client:
            parsed = client.admin.command("getCmdLineOpts")["parsed"]
    except PyMongoError:
        return None
    return port if parsed["storage"]["dbPath"] == str(folder / mongod.DATA) else None


def _launch(folder: Path) -> int:
    # a supervisor of before, which lost its server, ends by itself; its lock must be free first
    os.close(mongod.hold(folder / mongod.SERVER, fcntl.LOCK_EX))
    (folder / mongod.ADDRESS).unlink(missing_ok=True)
    child = start_detached([sys.executable, "-m", mongod.__name__, _executable(), str(folder)])
    try:
        return wait_ready(child, lambda: _running(folder), mongod.START_SECONDS + 5)
    except NotReadyError:
        raise DatabaseDown(f"mongod did not start over {folder}: {_last_words(folder / mongod.LOG)}") from None


def _executable() -> str:
    from importlib.util import find_spec

    # found without importing fiftyone, which takes many seconds
    spec = find_spec("fiftyone")
    root = Path(str(spec.origin)).parent if spec else Path()
    path = root / "db" / "bin" / "mongod"
    if not path.is_file():
        raise DatabaseDown(f"no mongod at {path}; `{command('mine')}` adds it, or set {KEY} to a MongoDB that runs")
    return str(path)


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    telling = [line for line in lines if '"s":"E"' in line or '"s":"F"' in line]
    return (telling or lines or ["it left no log"])[-1][:400]
