"""FiftyOne on a MongoDB that is not ours: a real mongod that asks for a password, named by `stores.mongodb` alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade.process.ready import free_port, listens, wait_ready
from cascade.process.supervisor import Supervised
from tasks.config import StoresParams
from tasks.config.stores import PASSWORDS
from tasks.mining import database
from tasks.stores.addresses import mongodb_uri
from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
USER, PASSWORD = "miner", "a/b@c"
# as mining does, in a process of its own: one has one database. `keep` makes a dataset, `look` says what is there.
CLIENT = """
import sys
from pathlib import Path
from tasks.config import StoresParams
from tasks.mining.database import DatabaseDown, connect
from tasks.stores.addresses import mongodb_uri
try:
    fiftyone = connect(Path(sys.argv[3]), mongodb_uri(StoresParams(mongodb=sys.argv[2])))
except DatabaseDown as error:
    sys.exit(f"down: {error}")
if sys.argv[1] == "keep":
    fiftyone.Dataset("fleet", persistent=True).add_sample(fiftyone.Sample(filepath="/a.jpg"))
print({name: len(fiftyone.load_dataset(name)) for name in fiftyone.list_datasets()})
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A mongod with one user; gives its port."""
    import pymongo

    folder, port = tmp_path_factory.mktemp("mongo"), free_port()
    place = ("--dbpath", str(folder), "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket", "--auth")
    with Supervised([database._executable(), *place], log=folder / "log") as server:
        wait_ready(server, lambda: listens(port), 60)
        # from this machine the first user may be made without one
        with pymongo.MongoClient("127.0.0.1", port) as client:
            client.admin.command("createUser", USER, pwd=PASSWORD, roles=["root"])
        yield port


def run(what: str, port: int, folder: Path, password: str | None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **({PASSWORDS["mongodb"]: password} if password else {})}
    uri = f"mongodb://{USER}@127.0.0.1:{port}/?authSource=admin"
    command = [sys.executable, "-c", CLIENT, what, uri, str(folder)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_what_one_process_keeps_another_one_sees(port: int, tmp_path: Path) -> None:
    kept = run("keep", port, tmp_path, PASSWORD)
    assert kept.returncode == 0, kept.stderr
    assert run("look", port, tmp_path, PASSWORD).stdout.strip() == "{'fleet': 1}"
    # none of our own was started
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("password", "message"),
    [
        # of another user
        ("wrong", f"Authentication failed.*{PASSWORDS['mongodb']} is set"),
        # not given at all
        (None, f"{PASSWORDS['mongodb']} is not set"),
    ],
)
def test_a_password_that_is_missing_or_wrong(port: int, tmp_path: Path, password: str | None, message: str) -> None:
    done = run("look", port, tmp_path, password)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert re.search(message, lines[-1]), done.stderr
    assert len(lines) == 1
    assert "wrong" not in lines[0].split("stores.mongodb")[-1]


def test_a_variable_of_an_earlier_version_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://me:hush@host/")
    with pytest.raises(database.DatabaseDown, match=r"is not read any more: .*stores\.mongodb") as error:
        database.connect(tmp_path, mongodb_uri(StoresParams()))
    assert "hush" not in str(error.value)
