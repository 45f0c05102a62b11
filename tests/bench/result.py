"""What a bench hands to `tests/bench/run.py`: samples of its rows, as JSON in the file of `--json`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tasks.common.files import write_bytes


class Sample(BaseModel):
    """One pair of measurements of a row: ours and the peer's, taken in turns in one process.

    Attributes:
        ours: in the row's unit.
        peer: in the row's unit; None where nothing else does the same.
        ratio: of the two, as the row defines it; None without a peer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ours: float
    peer: float | None = None
    ratio: float | None = Field(default=None, gt=0)


class Result(BaseModel):
    """Samples by row, at least one each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: dict[str, list[Sample]]


def add_json(parser: argparse.ArgumentParser) -> None:
    """Give a bench the option `--json`."""
    parser.add_argument("--json", type=Path, help="write samples of the rows to this file too")


def write_result(path: Path | None, rows: Mapping[str, Sequence[Sample]]) -> None:
    """Write the samples in one step; without a path nothing."""
    if path is not None:
        text = Result(rows={name: list(samples) for name, samples in rows.items()}).model_dump_json(indent=1)
        write_bytes(path, f"{text}\n".encode())


def slower(ours: float, peer: float) -> Sample:
    """A sample of times or sizes: how many times as much the peer needs."""
    return Sample(ours=ours, peer=peer, ratio=peer / ours)


def faster(ours: float, peer: float) -> Sample:
    """A sample of rates: how many times as many of ours."""
    return Sample(ours=ours, peer=peer, ratio=ours / peer)
