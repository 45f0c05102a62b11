"""MLflow's tracking store: opening it, and one line early where it cannot be used.

MLflow tries a database that it cannot open ten times, for minutes, and then raises from within SQLAlchemy. So a file of
SQLite is looked at first.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.common.telemetry import switch_off
from tasks.common.user import set_user_name
from tasks.config import RegisterParams

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACTS = Path("var/mlartifacts")
SQLITE, POSTGRES = "sqlite:///", "postgresql"
LOCK_SECONDS = 10.0
# a database of its own, as postgresql://USER:PASSWORD@HOST/NAME, or a server; what is secret stays out of params.yaml
VARIABLE = "STREETVISION_MLFLOW_URI"
KEY = "register.tracking_uri in params.yaml"
log = logging.getLogger(__name__)


class RegisterError(ValueError):
    """The registry has no such release, or cannot be used."""


def connect(params: RegisterParams, root: Path = Path()) -> MlflowClient:
    """Open the tracking store and registry; a relative SQLite path counts from `root` and its folder is made."""
    switch_off()
    set_user_name()
    from mlflow import MlflowClient

    uri = uri_of(params)
    if (database := database_of(params, root)) is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        uri = f"{SQLITE}{database}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def uri_of(params: RegisterParams) -> str:
    """The store: STREETVISION_MLFLOW_URI, which may hold a password, else `register.tracking_uri`."""
    return os.environ.get(VARIABLE) or params.tracking_uri


def _shown(uri: str) -> str:
    """The store's address without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(uri).render_as_string(hide_password=True)
    except ArgumentError:
        return uri


def database_of(params: RegisterParams, root: Path = Path()) -> Path | None:
    """The file of the store; None where it is a server."""
    uri = uri_of(params)
    return (root / uri.removeprefix(SQLITE)).resolve() if uri.startswith(SQLITE) else None


def prepare(params: RegisterParams, root: Path = Path()) -> str:
    """See to it that a release can be recorded, and give the experiment's id; one that was deleted is restored.

    Raises:
        RegisterError: the store cannot be used; names the file or the address, and what to do.
    """
    check_database(params, root)
    _check_server(params, root)
    with readable_errors(params, root):
        client = connect(params, root)
        found = client.get_experiment_by_name(params.experiment)
        if found is None:
            # MLflow's default would put artifacts into the current folder
            place = (root / ARTIFACTS).resolve().as_uri()
            return str(client.create_experiment(params.experiment, artifact_location=place))
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
            log.warning("MLflow's experiment %r was deleted; it is restored with its runs", params.experiment)
        return str(found.experiment_id)


def check_database(params: RegisterParams, root: Path = Path()) -> None:
    """Refuse a database file that is damaged, locked, not writable, or of another version of MLflow.

    Raises:
        RegisterError: names the file and what to do.
    """
    file = database_of(params, root)
    if file is None or not file.exists():
        return
    away = f"move it away (`mv {file} {file}.old`), and a new one is made: releases are kept, their record begins anew"
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=LOCK_SECONDS)) as database:
            problem = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            database.execute("BEGIN IMMEDIATE").close()
            database.execute(
                "UPDATE alembic_version SET version_num = version_num" if _tables(database) else "SELECT 1"
            )
            revision = _revision(database)
            database.rollback()
    except sqlite3.OperationalError as error:
        raise RegisterError(f"{file}: {_words(error, file)} ({KEY})") from None
    except sqlite3.DatabaseError as error:
        raise RegisterError(f"{file}: damaged ({error}); {away}") from None
    if problem != "ok":
        raise RegisterError(f"{file}: damaged ({problem}); {away}")
    _check_revision(file, revision, away)


def _check_server(params: RegisterParams, root: Path) -> None:
    """Refuse a database server that does not answer, which MLflow would try for minutes.

    Raises:
        RegisterError: names its address and what it says.
    """
    uri = uri_of(params)
    if not uri.startswith(POSTGRES):
        return
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    with readable_errors(params, root):
        create_engine(uri, poolclass=NullPool, connect_args={"connect_timeout": int(LOCK_SECONDS)}).connect().close()


def _tables(database: sqlite3.Connection) -> bool:
    found = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    return bool(found[0])


def _revision(database: sqlite3.Connection) -> str | None:
    """The version of MLflow's tables; None where there are none yet."""
    row = database.execute("SELECT version_num FROM alembic_version").fetchone() if _tables(database) else None
    return row and str(row[0])


def _words(error: sqlite3.OperationalError, file: Path) -> str:
    name = error.sqlite_errorname
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"another process holds it (waited {LOCK_SECONDS:.0f} s; `fuser {file}` names it); end it or wait for it"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return f"cannot be written to; make the file and its folder writable (`chmod u+w {file} {file.parent}`)"
    if name.startswith("SQLITE_FULL"):
        return "its disk is full"
    return str(error)


def _check_revision(file: Path, revision: str | None, away: str) -> None:
    if revision is None:
        return
    import mlflow
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
    from mlflow.store import db_migrations

    scripts = ScriptDirectory(str(Path(db_migrations.__file__ or "").parent))
    try:
        scripts.get_revision(revision)
    except CommandError:
        newer = f"written by a newer MLflow than the installed {mlflow.__version__} (schema {revision})"
        raise RegisterError(f"{file}: {newer}; install that one, or {away}") from None
    if revision not in scripts.get_heads():
        older = f"written by an older MLflow than the installed {mlflow.__version__} (schema {revision})"
        raise RegisterError(f"{file}: {older}; copy the file, then run `mlflow db upgrade {SQLITE}{file}`")


@contextmanager
def readable_errors(params: RegisterParams, root: Path = Path()) -> Iterator[None]:
    """Turn what MLflow, its database or its disk raise into one line with the store's name.

    Raises:
        RegisterError: in the place of the error.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        where = database_of(params, root) or _shown(uri_of(params))
        key = VARIABLE if os.environ.get(VARIABLE) else KEY
        raise RegisterError(f"MLflow at {where}: {first} ({key})") from error
