"""Prometheus for the tests that need it: `make test` installs it, see deploy/prometheus/install.sh."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="Prometheus is not installed, and could not be",
)
NAME = re.compile(r"\b(?:streetvision|process|python)_[a-z0-9_]+\b")
SELECTOR = re.compile(r"\b((?:streetvision|process)_[a-z0-9_]+)\s*\{([^}]*)\}")
LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
# what `by`, `on`, `group_left` and `without` name
GROUPING = re.compile(r"\b(?:by|on|without|group_left|ignoring)\s*\(([^)]*)\)")


def alerts() -> list[dict[str, Any]]:
    """All alert rules."""
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def names_in(query: str) -> set[str]:
    """Names of series that a query asks for."""
    return set(NAME.findall(query))


def labels_in(query: str) -> Iterator[tuple[str, str]]:
    """Series and label of each matcher of a query."""
    for name, matchers in SELECTOR.findall(query):
        for label in LABEL.findall(matchers):
            yield name, label


def grouped_in(query: str) -> set[str]:
    """Labels that a query groups or joins by."""
    return {label.strip() for group in GROUPING.findall(query) for label in group.split(",") if label.strip()}
