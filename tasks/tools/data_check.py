"""`streetvision data check`: the dataset doctor for data of your own, before anything is trained on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cascade.extras import require
from tasks.config import ConfigError, PullParams, load_params
from tasks.data.doctor.report import DoctorReport, Other, examine_set
from tasks.data.doctor.scan import any_rows, labelled_rows, pick, scan
from tasks.data.doctor.show import tables, write_sheet
from tasks.data.schema import DataError

SHEET = Path("data-check.jpg")
app = typer.Typer(no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Data of your own."""


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A parquet file, or a folder of parquet files or labelled pictures.")],
    against: Annotated[Path | None, typer.Option(help="A second set that must not share pictures with it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    sheet: Annotated[Path, typer.Option(help="Where the contact sheet of doubtful pictures goes.")] = SHEET,
) -> None:
    """Look for what is wrong with a labelled set; errors give exit code 1, warnings do not."""
    require("streetvision data check", "pyarrow", "sklearn")
    with _errors():
        params = load_params().pull
        report = examine_path(path, params, against)
        shown = _write_sheet(report, path, against, params, sheet)
    if as_json:
        json.dump(report.document(), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        from rich.console import Console

        Console().print(*tables(report), sep="\n")
    if shown:
        print(f"{shown} doubtful pictures: {sheet}", file=sys.stderr)
    if not report.is_sound:
        raise typer.Exit(1)


def examine_path(path: Path, params: PullParams, against: Path | None = None) -> DoctorReport:
    """Read and look at a set, and at a second one where it is given.

    Raises:
        DataError: one of them cannot be read.
    """
    limits = {"max_pixels": params.max_pixels, "min_side": params.min_side}
    pictures, rejected = scan(labelled_rows(path, params.data.classes.names, params.data.seed), **limits)
    other = Other(str(against), scan(any_rows(against), **limits)[0]) if against else None
    return examine_set(pictures, rejected, bits=params.near_duplicate_bits, other=other)


def _write_sheet(report: DoctorReport, path: Path, against: Path | None, params: PullParams, sheet: Path) -> int:
    ours = {doubt.sha256 for doubt in report.doubts if not doubt.other}
    theirs = {doubt.sha256 for doubt in report.doubts if doubt.other}
    if not ours:
        return 0
    images = pick(labelled_rows(path, params.data.classes.names, params.data.seed), ours, params.max_pixels)
    others = pick(any_rows(against), theirs, params.max_pixels) if against and theirs else {}
    return write_sheet(report.doubts, images, others, sheet)


@contextmanager
def _errors() -> Iterator[None]:
    """Turn errors of use into one line on stderr and exit code 1."""
    try:
        yield
    except (ConfigError, DataError, OSError) as error:
        print(f"data check: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
