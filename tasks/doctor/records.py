"""Ledger, pointer and MLflow's alias must name one release; a promotion that was cut off is said here too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks.config import Params
from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import Context, check
from tasks.release import ledger
from tasks.release.promotion import journal
from tasks.release.promotion.doors import live_id
from tasks.release.runs import RELEASE_TAG
from tasks.release.tracking import database_of
from tasks.stores.addresses import mlflow_uri

if TYPE_CHECKING:
    from sqlalchemy import Engine

REPAIR = "the next `make run`, `streetvision promote` or `streetvision up` repairs it"


@check("ledger")
def records(context: Context) -> Iterator[Finding]:
    """The pointer follows the ledger; between the two a promotion was cut off."""
    intent = journal.unfinished()
    if intent:
        yield warning(f"the {intent.action} of {intent.new} runs, or was cut off", REPAIR)
    lines = ledger.read()
    if not lines:
        yield not_asked("nothing was promoted yet")
        return
    last, live = lines[-1].release, live_id()
    if live != last:
        yield error(
            f"the ledger says release {last} is live, and models/releases/champion names {live or 'none'}", REPAIR
        )
    else:
        yield ok(f"{len(lines)} lines; the last one is of {last}, which is champion")


@check("MLflow alias", needs_params=True)
def alias(context: Context) -> Iterator[Finding]:
    """MLflow's tables are read, as loading MLflow would take longer than all other checks."""
    params, lines = context.needed, ledger.read()
    uri = params.stores.mlflow
    if uri.startswith("file:") or "://" not in uri:
        yield error(
            f"stores.mlflow is {uri}: MLflow 3.13 and later refuse a folder as store",
            "stores.mlflow: sqlite:///var/mlflow.db",
        )
        return
    if not lines:
        yield not_asked("nothing was promoted yet")
        return
    if uri.startswith("http"):
        yield not_asked(f"the alias is in MLflow's server at {uri}", "its page of models shows the alias")
        return
    file = database_of(params)
    if file is not None and not file.is_file():
        yield warning(f"{file} is missing", "`make run` registers the release again; runs of before are lost")
        return
    found, last = champion_alias(params), lines[-1].release
    if found != last:
        yield error(f"MLflow's alias champion is on release {found or 'none'}, and {last} is live", REPAIR)
    else:
        yield ok(f"MLflow's alias champion is on release {last}")


def champion_alias(params: Params) -> str | None:
    """The release with the alias `champion`, from MLflow's database; None where none has it."""
    from sqlalchemy import text

    query = text(
        "SELECT t.value FROM registered_model_aliases a "
        "JOIN model_version_tags t ON t.name = a.name AND t.version = a.version "
        "WHERE a.name = :model AND a.alias = 'champion' AND t.key = :tag"
    )
    engine = _engine(params)
    try:
        with engine.connect() as connection:
            row = connection.execute(query, {"model": params.register_.model, "tag": RELEASE_TAG}).fetchone()
    finally:
        engine.dispose()
    return str(row[0]) if row else None


def _engine(params: Params) -> Engine:
    from sqlalchemy import create_engine

    file = database_of(params)
    return create_engine(f"sqlite:///file:{file}?mode=ro&uri=true" if file else mlflow_uri(params.stores))
