"""A stage's figures in two files: all of them, and the few that a table of experiments shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.common.files import write_json

HEADLINE_FILE = "headline.json"


def write_metrics(path: Path, document: dict[str, Any], headline: Sequence[str]) -> None:
    """Write all figures of a stage, and beside them `headline.json`, which dvc.yaml lists under `metrics`.

    Each figure there is a column of `dvc exp show`, named `train/mcc` for `mcc` in reports/train. By the slash
    `make experiments` tells it from a parameter.

    Args:
        path: of the file with all figures; its folder has the name of the stage.
        document: the figures, nested.
        headline: names of the few, keys joined by dots; one that the document lacks is left out, as where the stage is
            switched off.
    """
    write_json(path, document)
    chosen = {name: value for name in headline if (value := figure(document, name)) is not None}
    write_json(path.with_name(HEADLINE_FILE), {f"{path.parent.name}/{name}": value for name, value in chosen.items()})


def figure(document: dict[str, Any], name: str) -> Any:
    """One figure by its keys, joined by dots; None where there is none."""
    found: Any = document
    for key in name.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found
