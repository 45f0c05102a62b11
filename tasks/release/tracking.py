"""MLflow's tracking store: opening it, and one line early where it cannot be used.

MLflow tries a database that it cannot open ten times, for minutes, and then raises from within SQLAlchemy. So a file of
SQLite is looked at first.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.common.telemetry import switch_off
from tasks.common.user import set_user_name
from tasks.config import Params
from tasks.stores import s3
from tasks.stores.addresses import how, mlflow_uri, retired
from tasks.stores.errors import StoreError

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACTS = Path("var/mlartifacts")
SQLITE, POSTGRES = "sqlite:///", "postgresql"
LOCK_SECONDS = 10.0
KEY = "stores.mlflow in params.yaml"
VARIABLE = "STREETVISION_MLFLOW_URI"  # of earlier versions
log = logging.getLogger(__name__)


class RegisterError(ValueError):
    """The registry has no such release, or cannot be used."""


def connect(params: Params, root: Path = Path()) -> MlflowClient:
    """Open the tracking store and registry; a relative SQLite path counts from `root` and its folder is made."""
    switch_off()
    set_user_name()
    from mlflow import MlflowClient

    s3.settle(params.stores.s3)
    uri = mlflow_uri(params.stores)
    if (database := database_of(params, root)) is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        uri = f"{SQLITE}{database}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _shown(uri: str) -> str:
    """The store's address without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(uri).render_as_string(hide_password=True)
    except ArgumentError:
        return uri


def database_of(params: Params, root: Path = Path()) -> Path | None:
    """The file of the store; None where it is a server."""
    uri = params.stores.mlflow
    return (root / uri.removeprefix(SQLITE)).resolve() if uri.startswith(SQLITE) else None


def prepare(params: Params, root: Path = Path()) -> str:
    """See to it that a release can be recorded, and give the experiment's id; one that was deleted is restored.

    Raises:
        RegisterError: the store cannot be used; names the file or the address, and what to do.
    """
    if line := retired(VARIABLE):
        raise RegisterError(line)
    check_database(params, root)
    _check_server(params, root)
    name = params.register_.experiment
    with readable_errors(params, root):
        client = connect(params, root)
        if params.stores.s3.bucket:
            s3.check(params.stores.s3)
        found = client.get_experiment_by_name(name)
        if found is None:
            return str(client.create_experiment(name, artifact_location=artifact_root(params, root)))
        _check_artifacts(params, found.artifact_location)
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
            log.warning("MLflow's experiment %r was deleted; it is restored with its runs", name)
        return str(found.experiment_id)


def artifact_root(params: Params, root: Path = Path()) -> str:
    """Where artifacts lie: a folder of the bucket, or of `root`; MLflow's default would be the current folder."""
    return params.stores.s3.url("mlflow") if params.stores.s3.bucket else (root / ARTIFACTS).resolve().as_uri()


def _check_artifacts(params: Params, location: str) -> None:
    """Refuse an experiment in another place than `stores.s3`: MLflow cannot move it, and its versions would be parted.

    Raises:
        RegisterError: names both places.
    """
    wanted = artifact_root(params) if params.stores.s3.bucket else None
    if (location if location.startswith("s3://") else None) != wanted:
        raise RegisterError(
            f"MLflow's experiment {params.register_.experiment} keeps artifacts at {location}, and stores.s3 says "
            f"{wanted or 'on this machine'}; correct stores.s3, or name a new one (register.experiment in params.yaml)"
        )


def check_database(params: Params, root: Path = Path()) -> None:
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


def _check_server(params: Params, root: Path) -> None:
    """Refuse a database server that does not answer, which MLflow would try for minutes.

    Raises:
        RegisterError: names its address and what it says.
    """
    uri = mlflow_uri(params.stores)
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
def readable_errors(params: Params, root: Path = Path()) -> Iterator[None]:
    """Turn what MLflow, its database or its disk raise into one line with the store's name.

    Raises:
        RegisterError: in the place of the error.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except StoreError as error:
        raise RegisterError(f"MLflow's artifacts: {error}") from error
    except (MlflowException, SQLAlchemyError, OSError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        where = database_of(params, root) or _shown(mlflow_uri(params.stores))
        key = how("mlflow") if params.stores.mlflow.startswith(POSTGRES) else KEY
        raise RegisterError(f"MLflow at {where}: {first} ({key})") from error
    except Exception as error:
        if params.stores.s3.bucket is None or (known := s3.of_boto(params.stores.s3, error)) is None:
            raise
        raise RegisterError(f"MLflow's artifacts: {known}") from error
