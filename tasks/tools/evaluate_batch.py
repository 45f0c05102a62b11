"""`streetvision evaluate-batch`: score a release on a labelled folder, on the engine of section `scale`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cascade.config import ConfigError, load_runtime_params
from cascade.core.memory import MemoryLimitError
from cascade.engines.base import EngineError
from cascade.labelled.files import FolderError
from cascade.local.options import crops_given, prior_given
from cascade.release.store import ReleaseError
from tasks.config.scale import load_scale_params
from tasks.scale.errors import ScaleError

app = typer.Typer()


@app.command("evaluate-batch")
def evaluate_batch(
    folder: Annotated[Path, typer.Argument(help="Holds manifest.csv, or subfolders roadwork/ and clear/.")],
    release: Annotated[Path | None, typer.Option(help="A release folder; the champion by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    stage: Annotated[str | None, typer.Option(help="One stage alone: classifier, detectors, vlm or ocr.")] = None,
    crops: Annotated[int | None, typer.Option(help="Squares that stage 1 gets of a wide picture.")] = None,
    pool: Annotated[str, typer.Option(help="mean or max of their logits.")] = "mean",
    prior: Annotated[str, typer.Option(help="Share of roadwork that figures are for; own: the folder's.")] = "0.5",
) -> None:
    """Score a release on a labelled folder: `streetvision evaluate` where `scale.engine` in params.yaml says.

    Images that cannot be read get a line on stderr, and the exit code is 1.
    """
    with _errors():
        from cascade.display.report import show_report
        from tasks.scale.evaluate import evaluate_folder

        report = evaluate_folder(
            folder,
            load_runtime_params(),
            load_scale_params(),
            release,
            stage=stage,
            crops=crops_given(crops, pool),
            prior=prior_given(prior),
        )
    raise typer.Exit(show_report(report, as_json=as_json))


@contextmanager
def _errors() -> Iterator[None]:
    """Turn errors of use into one line on stderr and exit code 1."""
    try:
        yield
    except (ConfigError, EngineError, FolderError, MemoryLimitError, ReleaseError, ScaleError) as error:
        print(f"evaluate-batch: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
