"""Make a release champion and serve it. By hand: `python -m flows.promote RELEASE --why TEXT`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from cascade.api.auth import ServiceError
from cascade.api.process import ServiceState, start
from cascade.release.store import CHAMPION, OldReleaseError, Release, ReleaseError, champion, load_release, set_champion
from tasks.common.user import user_name
from tasks.config import ConfigError, Params, load_params
from tasks.release.collect import RELEASES
from tasks.release.gate import GateError, check_floors
from tasks.release.ledger import Promotion, append, read
from tasks.release.registry import move_champion
from tasks.release.tracking import RegisterError


@flow(name="promote", flow_run_name="promote-{release_id}")
def promote(release_id: str, why: str, who: str | None = None) -> None:
    """Check the gate, then make a release champion, serve it, move the alias and write the ledger.

    A release that is champion already only gets its service back, and no line in the ledger.

    Raises:
        GateError: the release is below a floor of params.yaml.
        ReleaseError: the release is altered or incomplete.
    """
    params = load_params()
    check_floors(load_release(RELEASES / release_id).manifest.gate, params.validate_)
    previous = _previous()
    if is_recorded(previous, release_id):
        start(RELEASES, params.runtime)
        # again, in case somebody deleted the alias
        _move_alias(params, release_id)
        get_run_logger().info("release %s is champion already", release_id)
        return
    state = _switch(params, release_id, previous, why, who or user_name())
    get_run_logger().info("release %s is champion and answers at %s", release_id, state.url)


def _previous() -> Release | None:
    """The champion; None where there is none, or one that only an older version could serve."""
    try:
        return champion(RELEASES)
    except OldReleaseError as error:
        get_run_logger().warning("%s", error)
        return None


def is_recorded(release: Release | None, release_id: str) -> bool:
    """Whether a release is champion and the ledger's last line says so: nothing of its promotion is left to do."""
    lines = read()
    return release is not None and release.id == release_id and bool(lines) and lines[-1].release == release_id


def _switch(params: Params, release_id: str, previous: Release | None, why: str, who: str) -> ServiceState:
    """Pointer, service, alias, ledger, in this order; a failure on the way puts the first three back."""
    replaced = _replaced(previous, release_id)
    try:
        set_champion(RELEASES, release_id)
        state = start(RELEASES, params.runtime)
        move_champion(params.register_, release_id)
        append(Promotion(when=_now(), who=who, why=why, release=release_id, previous=replaced, run=flow_run.id))
    except BaseException:
        _put_back(params, previous)
        raise
    return state


def _replaced(previous: Release | None, release_id: str) -> str | None:
    """The release that loses its place; after a crash between pointer and ledger only the ledger still knows it."""
    if previous is not None and previous.id != release_id:
        return previous.id
    lines = read()
    return lines[-1].release if lines else None


def _put_back(params: Params, previous: Release | None) -> None:
    """The pointer first: whatever fails after it, the next start serves the old release. MLflow's alias is the last.

    Somebody may have deleted the old release in MLflow, which must not hide the failure that brought us here.
    """
    if previous is None:
        (RELEASES / CHAMPION).unlink(missing_ok=True)
        return
    set_champion(RELEASES, previous.id)
    start(RELEASES, params.runtime)
    _move_alias(params, previous.id)


def _move_alias(params: Params, release_id: str) -> None:
    """Move MLflow's alias, or say why not: it follows what is served, and nothing is served by it."""
    try:
        move_champion(params.register_, release_id)
    except RegisterError as error:
        get_run_logger().warning("MLflow's alias `champion` stays as it is: %s", error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def main(
    release: Annotated[str, typer.Argument(help="id of a release below models/releases")],
    why: Annotated[str, typer.Option(help="the reason, for the ledger")],
) -> None:
    """Promote a release by hand; the gate applies as it does to the pipeline."""
    try:
        if not (RELEASES / release / "manifest.json").is_file():
            raise ReleaseError(f"{RELEASES / release}: no such release; there are: {', '.join(_known()) or 'none'}")
        promote(release, why)
    except (ConfigError, GateError, RegisterError, ReleaseError, ServiceError) as error:
        sys.exit(f"error: {error}")


def _known() -> list[str]:
    folders = RELEASES.glob("*/manifest.json") if RELEASES.is_dir() else iter(())
    return sorted(path.parent.name for path in folders if not path.parent.is_symlink() and Path(path).is_file())


if __name__ == "__main__":
    typer.run(main)
