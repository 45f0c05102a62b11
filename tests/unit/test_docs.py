"""README and docs: lines that fit a screen, links and modules that exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# made from the code, in tables
GENERATED = ROOT / "docs" / "reference"
LINK = re.compile(r"\]\(([^)#\s]+)")
MODULE = re.compile(r"python -m ((?:cascade|tasks|flows)[\w.]*)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_links_and_modules(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if len(line) >= 150 and page.parent != GENERATED] == []
    links = {link for link in LINK.findall(text) if "://" not in link}
    assert {link for link in links if not (page.parent / link).exists()} == set()
    # what commands were called before stands there
    if page.name == "upgrading.md":
        return
    assert {name for name in MODULE.findall(text) if importlib.util.find_spec(name.rstrip(".")) is None} == set()
