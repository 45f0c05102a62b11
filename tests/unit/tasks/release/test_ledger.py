"""The promotion ledger: nothing is lost, nothing is rewritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.release.ledger import Promotion, append, read


def promotion(release: str, previous: str | None = None) -> Promotion:
    return Promotion(when="2026-11-22T00:00:00+00:00", who="me", why="a\nreason", release=release, previous=previous)


def test_no_ledger_is_no_promotion(tmp_path: Path) -> None:
    assert read(tmp_path / "none.jsonl") == []


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "var" / "ledger.jsonl"
    append(promotion("a"), path)
    first = path.read_bytes()
    append(promotion("b", "a"), path)
    assert path.read_bytes().startswith(first)
    assert read(path) == [promotion("a"), promotion("b", "a")]
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_cut_by_a_crash_costs_only_itself(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "ledger.jsonl"
    append(promotion("a"), path)
    whole = path.read_bytes()
    append(promotion("b", "a"), path)
    path.write_bytes(path.read_bytes()[: len(whole) + cut])
    append(promotion("c", "a"), path)
    assert [line.release for line in read(path)] == ["a", "c"]
