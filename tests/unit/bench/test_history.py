"""The file of kept figures: it comes back as it was written, and a damaged line is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.history import HISTORY, Entry, Figure, HistoryError, Machine, append, read_history
from tests.bench.plot import draw
from tests.bench.result import Sample
from tests.bench.rows import BENCHES
from tests.bench.table import markdown
from tests.support.paths import ROOT

MACHINE = Machine(processor="EPYC", cores=2, instructions="avx2", libraries={"torch": "2.15"})


def entry(commit: str = "a" * 40, row: str = "stage1", ratio: float | None = 4.0, machine: Machine = MACHINE) -> Entry:
    samples = [
        Sample(ours=20.0, peer=ratio and 20 * one, ratio=one)
        for one in ([ratio] if ratio is None else [ratio, 1.1 * ratio])
    ]
    return Entry(commit=commit, date="2026-11-27T12:00:00Z", machine=machine, rows={row: Figure.of(samples, "ms", 4.0)})


def test_entries_come_back_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert read_history(path) == []
    written = [entry("a" * 40), entry("b" * 40, ratio=None), entry("c" * 40)]
    for one in written:
        append(one, path)
    assert read_history(path) == written


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        # cut off, a conflict of git, an empty line, no object
        (lambda line: line[: len(line) // 2], "Invalid JSON"),
        (lambda _: "<<<<<<< HEAD", "Invalid JSON"),
        (lambda _: "", "Invalid JSON"),
        (lambda _: "[]", "Input should be an object"),
        # a key too much, one too few, no number, infinite
        (lambda line: line.replace('"commit"', '"comit"'), "commit: Field required"),
        (lambda line: line.replace('"ours": 20.0', '"ours": "fast"'), "rows.stage1.ours"),
        (lambda line: line.replace('"ours": 20.0', '"ours": 1e999'), "rows.stage1.ours"),
        (lambda line: line.replace('"cores"', '"core_count"'), "machine.cores"),
    ],
)
def test_a_damaged_line_is_named(damage: Callable[[str], str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    append(entry(), path)
    append(entry("b" * 40), path)
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{damage(second)}\n{first}\n")
    with pytest.raises(HistoryError, match=rf"history.jsonl, line 2: .*{said}"):
        read_history(path)


def test_the_committed_history_can_be_read() -> None:
    for one in read_history(ROOT / HISTORY):
        assert len(one.commit) == 40


def test_the_plot_repeats_to_the_byte_and_needs_a_ratio(tmp_path: Path) -> None:
    few = [bench for bench in BENCHES if bench.name in ("yolo", "warm_run")]
    other = MACHINE.model_copy(update={"cores": 8})
    entries = [entry(row="yolo"), entry("b" * 40, "yolo", 1.6), entry("c" * 40, "yolo", machine=other)]
    assert draw(entries, few, tmp_path / "one.svg")
    assert draw(entries, few, tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert not draw([], few, tmp_path / "none.svg")
    assert not draw([entry(row="warm_run", ratio=None)], few, tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_the_page_has_the_last_figures_of_each_kind_of_machine() -> None:
    other = MACHINE.model_copy(update={"cores": 8})
    text = markdown([entry(), entry("b" * 40, ratio=5.0), entry("c" * 40, ratio=3.0, machine=other)], BENCHES)
    (here, there) = [line for line in text.splitlines() if "stage 1 as served" in line]
    assert "5.25 (5 to 5.5)" in here
    assert "bbbbbbbb" in here
    assert "3.15 (3 to 3.3)" in there
    assert all(len(line) < 150 for line in text.splitlines())
    assert markdown([], BENCHES) == "No figures are kept yet."
