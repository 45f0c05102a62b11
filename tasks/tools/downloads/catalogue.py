"""Which models a profile needs: models.yaml held against the profile's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from tasks.common.hub import Snapshot

CATALOGUE = Path(__file__).with_name("models.yaml")
NOT_KNOWN = "not known"
GB = 10**9
Place = Literal["backbone", "data", "diffusers", "cache", "ocr"]


@dataclass(frozen=True)
class Facts:
    """What the catalogue knows of a repository.

    Attributes:
        gb: of what is fetched, in 10^9 bytes; None: not known.
        licence: None: not known.
        gated: whether its owner grants access one by one; None: not known.
        note: a remark.
    """

    gb: float | None = None
    licence: str | None = None
    gated: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Need:
    """One snapshot that a step of the pipeline reads.

    Attributes:
        stage: whose it is.
        kind: of repository.
        repo: owner and name.
        revision: commit hash; "" where it is missing.
        key: of params.yaml, where the revision is set.
        place: see `tasks.tools.downloads.places`.
        folder: of a place that params.yaml names, else None.
        patterns: names that are wanted; none for a diffusers pipeline, whose files are chosen by themselves.
        facts: of the catalogue.
    """

    stage: str
    kind: Literal["model", "dataset"]
    repo: str
    revision: str
    key: str
    place: Place
    folder: Path | None
    patterns: tuple[str, ...]
    facts: Facts


@dataclass(frozen=True)
class Unfetched:
    """A model that is named for its licence alone."""

    stage: str
    what: str
    licence: str
    note: str


def needs(params: Mapping[str, Any]) -> list[Need]:
    """The snapshots that the steps of a profile need.

    Args:
        params: the content of params.yaml; it need not be complete.
    """
    catalogue = _read()
    found = [step for step in catalogue["steps"] if _applies(step["when"], params) and value(params, step["repo"])]
    return [_need(step, params, catalogue["repos"]) for step in found]


def unfetched(params: Mapping[str, Any]) -> list[Unfetched]:
    """Models that the profile uses and of which nothing is fetched."""
    found = [item for item in _read()["without"] if _applies(item["when"], params)]
    return [Unfetched(item["stage"], item["what"], item["licence"], item["note"]) for item in found]


def unpinned(wanted: Sequence[Need]) -> str:
    """One message that names every revision that is missing and how it is set; "" where none is."""
    missing = [need for need in wanted if not need.revision]
    if not missing:
        return ""
    pages = {need.key: Snapshot(need.repo, need.revision, need.kind).page for need in missing}
    lines = [f"  --set {key}=<hash>    the commit of {page}/commits/main" for key, page in pages.items()]
    head = "these revisions are missing; nothing is fetched from a branch, which can move. Give each, 40 hex digits:"
    return "\n".join([head, *lines])


def care(licence: str | None) -> str:
    """A warning about a licence, before it is agreed to; "" where nothing is unusual."""
    if licence is None:
        return "its licence is not known: read its page first"
    return next((item["says"] for item in _read()["care"] if item["licence"] in licence.lower()), "")


def value(params: Mapping[str, Any], dotted: str) -> Any:
    """The value of a dotted key; None where there is none."""
    at: Any = params
    for key in dotted.split("."):
        at = at.get(key) if isinstance(at, Mapping) else None
    return at


@cache
def _read() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
    return document


def _applies(when: Mapping[str, list[Any]], params: Mapping[str, Any]) -> bool:
    return all(value(params, key) in wanted for key, wanted in when.items())


def _need(step: Mapping[str, Any], params: Mapping[str, Any], repos: Mapping[str, Any]) -> Need:
    repo = value(params, step["repo"])
    patterns = [value(params, step["file"])] if "file" in step else step["files"]
    return Need(
        stage=step["stage"],
        kind=step.get("kind", "model"),
        repo=repo,
        revision=value(params, step["revision"]) or "",
        key=step["revision"],
        place=step["place"],
        folder=Path(value(params, "ocr.model")) if step["place"] == "ocr" else None,
        patterns=tuple(patterns),
        facts=Facts(**repos.get(repo, {})),
    )
