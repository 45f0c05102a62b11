"""What `make bench` found, kept in `tests/bench/history.jsonl`: a line an entry, appended, committed with the code.

A row is compared with its last kept figure on a machine of the same kind. Several lines of one commit add up.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.common.files import write_bytes
from tasks.common.libraries import library_version
from tasks.optimize.report import this_machine
from tests.bench.result import Sample

HISTORY = Path("tests/bench/history.jsonl")
LIBRARIES = ("torch", "openvino", "onnxruntime", "transformers", "ultralytics", "litserve", "fiftyone", "numpy")


class HistoryError(ValueError):
    """The history cannot be read; the message names file and line."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Machine(_Strict):
    """Where it was measured; libraries are those that ran, and no part of the machine's kind."""

    processor: str
    cores: int
    instructions: str
    libraries: dict[str, str]

    @classmethod
    def this(cls) -> Machine:
        """The present one."""
        cores = len(os.sched_getaffinity(0))
        found = this_machine(cores)
        versions = {name: library_version(name) for name in LIBRARIES}
        return cls(processor=found["processor"], cores=cores, instructions=found["instructions"], libraries=versions)

    @property
    def kind(self) -> str:
        """What two machines have in common whose ratios can be compared."""
        return f"{self.processor}, {self.cores} cores, {self.instructions}"


class Figure(_Strict):
    """A row's figures: medians over the samples, and the range of the ratio, or of ours where there is no ratio."""

    ours: float
    peer: float | None
    ratio: float | None
    low: float
    high: float
    samples: int
    unit: str
    target: float | None

    @classmethod
    def of(cls, samples: Sequence[Sample], unit: str, target: float | None) -> Figure:
        """Sum up at least one sample."""
        peers = [one.peer for one in samples if one.peer is not None]
        ratios = [one.ratio for one in samples if one.ratio is not None]
        spread = ratios or [one.ours for one in samples]
        return cls(
            ours=_round(median(one.ours for one in samples)),
            peer=_round(median(peers)) if peers else None,
            ratio=_round(median(ratios)) if ratios else None,
            low=_round(min(spread)),
            high=_round(max(spread)),
            samples=len(samples),
            unit=unit,
            target=target,
        )


class Entry(_Strict):
    """What one run kept.

    Attributes:
        commit: that was measured, whole.
        date: ISO 8601, to the second.
        machine: that it ran on.
        accepted: rows that were worse than before, and kept all the same by --accept.
        rows: figures by name of the row.
    """

    commit: str
    date: str
    machine: Machine
    accepted: tuple[str, ...] = ()
    rows: dict[str, Figure]


def read_history(path: Path = HISTORY) -> list[Entry]:
    """All entries, oldest first; none where the file is missing.

    Raises:
        HistoryError: a line is no entry.
    """
    found = []
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(Entry.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise HistoryError(
                f"{path}, line {number}: no entry of the history: {where + ': ' if where else ''}{first['msg']}; "
                f"`git log -p {path}` has the line as it was, or remove it"
            ) from None
    return found


def append(entry: Entry, path: Path = HISTORY) -> None:
    """Add a line, in one step."""
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    line = json.dumps(entry.model_dump(mode="json"), sort_keys=True)
    write_bytes(path, f"{before}{line}\n".encode())


def last_kept(entries: Iterable[Entry], row: str, kind: str, commit: str) -> tuple[Entry, Figure] | None:
    """The last figure of a row on machines of a kind, at another commit; None where there is none."""
    found = [one for one in entries if one.machine.kind == kind and one.commit != commit and row in one.rows]
    return (found[-1], found[-1].rows[row]) if found else None


def new_rows(entries: Iterable[Entry], kind: str, commit: str, rows: dict[str, Figure]) -> dict[str, Figure]:
    """Those figures that are not kept for this commit and kind of machine yet, or not as they are."""
    kept: dict[str, Figure] = {}
    for one in entries:
        if one.machine.kind == kind and one.commit == commit:
            kept |= one.rows
    return {name: figure for name, figure in rows.items() if kept.get(name) != figure}


def _round(value: float) -> float:
    """Four significant digits: the others are noise, and lines stay short."""
    return float(f"{value:.4g}")
