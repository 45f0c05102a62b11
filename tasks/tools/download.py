"""`streetvision download`: every model of a profile from the Hugging Face Hub, at pinned revisions, after asking."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade.extras import require
from tasks.config import PARAMS_FILE, ConfigError, Params

if TYPE_CHECKING:
    from tasks.tools.downloads.catalogue import Need, Unfetched
    from tasks.tools.downloads.item import DownloadItem

LOCK = Path("var/download.lock")
app = typer.Typer()


class DownloadError(RuntimeError):
    """Nothing, or not everything, can be fetched as things are; the message says what to do."""


@app.command("download")
def download(
    profile: Annotated[str | None, typer.Option(help="sample or gpu24; that of params.yaml by default.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As of tasks.tools.profile.")
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="STAGE", help="Leave out; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List, and fetch nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to the licences without a confirmation.")] = False,
) -> None:
    """Fetch every model of a profile from the Hugging Face Hub, at pinned revisions, after asking.

    An access token is read from HF_TOKEN alone. A download that was cut off goes on where it stopped.
    """
    from tasks.common import telemetry

    require("streetvision download", "huggingface_hub", "ruamel")
    telemetry.switch_off()
    with _errors():
        name, wanted, extra = plan(profile, changes or [], skip or [])
        if not wanted:
            print(f"profile {name}: nothing has to be fetched; its weights come with the packages and this repository")
            return
        from tasks.tools.downloads.item import item_of, show

        items = [item_of(need) for need in wanted]
        show(items, extra)
        todo = [item for item in items if not item.there]
        if todo and not dry_run:
            _fetch_confirmed(todo, yes)
        if not todo or not dry_run:
            print("everything is there")


def plan(
    profile: str | None, changes: Sequence[str], skip: Sequence[str] = (), params: Path = PARAMS_FILE
) -> tuple[str, list[Need], list[Unfetched]]:
    """What a profile needs, of parameters that are computed as `tasks.tools.profile` would, and written nowhere.

    Args:
        profile: one of the profiles; None, or the one that params.yaml is in: as that stands.
        changes: `key=value`, as for `tasks.tools.profile --set`.
        skip: stages that are left out.
        params: the file.

    Returns:
        The profile's name, what is to be fetched, and models that are used and not fetched.

    Raises:
        ConfigError: no such profile or key, or a value that does not fit.
        DownloadError: revisions are missing, each of which is named; or no such stage to skip.
    """
    from tasks.tools.downloads.catalogue import needs, unfetched, unpinned

    document = _document(profile, changes, params)
    wanted = needs(document)
    stages = sorted({need.stage for need in wanted})
    if strange := sorted(set(skip) - set(stages)):
        raise DownloadError(f"--skip {', '.join(strange)}: nothing is fetched for it; there are {', '.join(stages)}")
    wanted = [need for need in wanted if need.stage not in skip]
    if message := unpinned(wanted):
        raise DownloadError(message)
    _check(document, skipped=bool(skip))
    return document["profile"], wanted, [item for item in unfetched(document) if item.stage not in skip]


def _document(profile: str | None, changes: Sequence[str], params: Path) -> dict[str, Any]:
    from tasks.tools.profile import merge, names, read_change

    if profile is not None and profile not in names():
        raise ConfigError(f"{profile}: no such profile; there are {', '.join(names())}")
    try:
        given = dict(read_change(text) for text in changes)
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"--set {error}") from None
    # revisions that were set when the profile was switched to need not be given again
    document: dict[str, Any] = json.loads(
        json.dumps(merge(None if _is_in(params, profile) else profile, given, params))
    )
    return document


def _is_in(params: Path, profile: str | None) -> bool:
    """Whether a parameter file is in a profile; read fast, since ruamel takes long for all of it."""
    import yaml

    return params.is_file() and yaml.load(params.read_bytes(), yaml.CSafeLoader).get("profile") == profile


def _check(document: Mapping[str, Any], *, skipped: bool) -> None:
    """Refuse what `tasks.tools.profile` would; with stages left out, only their missing revisions are let pass."""
    from pydantic import ValidationError

    try:
        Params.model_validate(document)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors()
            if not (skipped and item["type"] == "value_error")
        ]
        if lines:
            raise ConfigError("\n".join([f"profile {document['profile']} does not fit:", *lines])) from None


def _fetch_confirmed(items: Sequence[DownloadItem], yes: bool) -> None:
    from tasks.tools.downloads.item import SpaceError, check_space

    if any(item.trouble for item in items):
        raise DownloadError("nothing was fetched; --skip STAGE leaves a stage out")
    try:
        check_space(items)
    except SpaceError as error:
        raise DownloadError(str(error)) from None
    _confirm(items, yes)
    with _alone():
        fetch_all(items)


def fetch_all(items: Sequence[DownloadItem]) -> None:
    """Fetch one after the other; one that fails does not keep the others back.

    Raises:
        DownloadError: says what failed.
    """
    from tasks.common import hub
    from tasks.tools.downloads import places

    failed = []
    for number, item in enumerate(items, 1):
        print(f"{number}/{len(items)} {item.need.repo} to {places.shown(item.need)}", flush=True)
        try:
            if item.listing:
                hub.fetch(places.snapshot_of(item.need), item.listing)
            places.finish(item.need)
        except (hub.HubError, places.PlaceError) as error:
            failed.append(str(error))
    if failed:
        raise DownloadError("\n".join([*failed, f"{len(failed)} of {len(items)} failed; what was fetched is kept"]))


def _confirm(items: Sequence[DownloadItem], yes: bool) -> None:
    from tasks.tools.downloads.item import amount

    if yes:
        return
    if not sys.stdin.isatty():
        raise DownloadError("nothing was fetched: no terminal for a confirmation; --yes agrees to these licences")
    if not typer.confirm(f"Fetch {amount(sum(item.left for item in items))} and agree to these licences?"):
        raise DownloadError("nothing was fetched")


@contextmanager
def _alone() -> Iterator[None]:
    """One download at a time: two would write into one file."""
    from filelock import FileLock, Timeout

    LOCK.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(LOCK, timeout=0):
            yield
    except Timeout:
        raise DownloadError(f"{LOCK}: another download is running") from None


@contextmanager
def _errors() -> Iterator[None]:
    """Turn errors of use into one message on stderr and exit code 1; a fault of ours keeps its traceback."""
    try:
        yield
    except (ConfigError, DownloadError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
