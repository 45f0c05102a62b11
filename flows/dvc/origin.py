"""Which run made the present results of a stage: what the run page says of a stage that was not run again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from prefect.artifacts import create_table_artifact

from tasks.common.files import read_json, sha256, write_json
from tasks.release.collect import locked_stages

# in the checkout, also of runs in trees of their own
STAGE_RUNS = Path("var/stage-runs.json")
KEPT = 10  # results of a stage that are remembered
KEY = "stages"  # one page with all its versions


def note_run(root: Path, stages: Iterable[str], run: str, file: Path = STAGE_RUNS) -> None:
    """Note that a run made what `dvc.lock` says of these stages.

    Args:
        root: folder of the DVC repository.
        stages: that the run has finished.
        run: its name.
        file: takes it.
    """
    known, digests = _read(file), _digests(root)
    for stage in stages:
        if stage in digests:
            others = {digest: name for digest, name in known.get(stage, {}).items() if digest != digests[stage]}
            known[stage] = dict(list({**others, digests[stage]: run}.items())[-KEPT:])
    write_json(file, known)


def origins(root: Path, file: Path = STAGE_RUNS) -> dict[str, str | None]:
    """The run that made the present result of each stage of `dvc.lock`; None where that was not noted."""
    known = _read(file)
    return {stage: known.get(stage, {}).get(digest) for stage, digest in _digests(root).items()}


def publish_stages(root: Path, states: dict[str, str], file: Path = STAGE_RUNS) -> None:
    """Publish a table of all stages, under the key `stages`.

    Args:
        root: folder of the DVC repository.
        states: of the stages in their order: the state of those that ran, empty for the others.
        file: that `note_run` wrote.
    """
    since = origins(root, file)
    rows = [
        {"stage": stage, "state": state or f"unchanged since {since.get(stage) or 'a run that was not noted'}"}
        for stage, state in states.items()
    ]
    create_table_artifact(table=rows, key=KEY, description="what ran, and which run made the rest")


def _digests(root: Path) -> dict[str, str]:
    """A digest of the entry of each stage in `dvc.lock`."""
    if not (root / "dvc.lock").is_file():
        return {}
    return {name: sha256(json.dumps(entry, sort_keys=True).encode()) for name, entry in locked_stages(root).items()}


def _read(file: Path) -> dict[str, dict[str, str]]:
    """What was noted; nothing where the file is missing or damaged, as it says nothing that is needed."""
    try:
        found = read_json(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
