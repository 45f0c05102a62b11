"""`streetvision predict-batch`: score a folder of pictures and clips, or parquet files, into parquet shards."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cascade.config import ConfigError, load_runtime_params
from cascade.core.memory import MemoryLimitError
from cascade.engines.base import EngineError
from cascade.extras import require
from cascade.release.store import ReleaseError
from tasks.config.scale import load_scale_params
from tasks.data.schema import DataError

app = typer.Typer()


@app.command("predict-batch")
def predict_batch(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A folder of images, clips or parquet, or one file.")],
    out: Annotated[Path, typer.Option(help="Folder of the shards; the same folder again resumes.")],
    release: Annotated[Path | None, typer.Option(help="A release folder; the champion by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a line.")] = False,
) -> None:
    """Score pictures into parquet shards, a row each; one that cannot be read is a row with its reason.

    A second run computes only what is missing or changed. A parquet file that cannot be read, or a folder, gets a line
    on stderr, and the exit code is 1. `scale.engine` in params.yaml chooses where it runs.
    """
    require("streetvision predict-batch", "pyarrow")
    with _errors(out):
        from tasks.scale import predict

        report = predict.predict_batch(source, out, load_runtime_params(), load_scale_params(), release)
    if as_json:
        json.dump(report, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        print(_line(report, out))
    for problem in report["problems"]:
        print(problem, file=sys.stderr)
    if report["problems"]:
        raise typer.Exit(1)


def _line(report: dict[str, Any], out: Path) -> str:
    refused = ", ".join(f"{count} {reason}" for reason, count in report["refused"].items())
    parts = [
        f"{report['pictures']} pictures: {report['roadwork']} roadwork, {report['clear']} clear",
        f"refused: {refused}" if refused else "",
        f"{report['incomplete']} lack the result of a stage that failed: run it again" if report["incomplete"] else "",
        f"{report['shards']} shards in {out}, {report['reused']} of them were there",
    ]
    return "; ".join(filter(None, parts))


@contextmanager
def _errors(out: Path) -> Iterator[None]:
    """Turn errors of use into one line on stderr and exit code 1."""
    from tasks.scale.errors import OutputError, ScaleError

    try:
        yield
    except (ConfigError, DataError, EngineError, MemoryLimitError, OutputError, ReleaseError, ScaleError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error}; the shards in {out} are whole, and the same command goes on from there")


def _fail(line: str) -> None:
    print(f"predict-batch: {line}", file=sys.stderr)
    raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
