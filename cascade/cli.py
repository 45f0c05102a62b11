"""The command line: `streetvision predict`, `evaluate`, `status`, `serve`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade.config import ConfigError, ServeParams, load_params

if TYPE_CHECKING:
    from cascade.answer import Answer, Cascade
    from cascade.release import Release

RELEASES = Path("models/releases")
app = typer.Typer(
    help="Does a street image show roadworks?", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ReleaseFolder = Annotated[Path | None, typer.Option("--release", help="A release folder; the champion by default.")]


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files.")],
    release: ReleaseFolder = None,
    as_json: Json = False,
) -> None:
    """Answer for image files, in this process; a bad one gets a line on stderr and exit code 1."""
    from cascade.image import BadImage

    serve = _settings()
    answers: dict[str, Answer] = {}
    with _cascade(release) as cascade:
        bad = 0
        for path in paths:
            try:
                answers[str(path)] = _predict(cascade, path, serve)
            except BadImage as error:
                bad += 1
                _complain(f"{path}: {error}")
    if as_json:
        _print_json({path: answer.model_dump() for path, answer in answers.items()})
    elif answers:
        _print_answers(answers)
    if bad:
        raise typer.Exit(1)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Holds manifest.csv, or subfolders roadwork/ and clear/.")],
    release: ReleaseFolder = None,
    as_json: Json = False,
) -> None:
    """Score a release on a labelled folder of your own; images that cannot be read give exit code 1."""
    from cascade.evaluate import read_folder, score, summarise

    serve = _settings()
    with _errors():
        samples = read_folder(folder)
    with _errors(), _cascade(release) as cascade:
        scored, skipped = score(cascade, samples, serve)
        report = summarise(scored, skipped, cascade.release.id)
    for one in report.skipped:
        _complain(one["message"])
    if as_json:
        _print_json(report.model_dump())
    else:
        from cascade.tables import report_tables

        _print_tables(report_tables(report))
    if report.skipped:
        raise typer.Exit(1)


@app.command()
def status(as_json: Json = False) -> None:
    """Show the champion, its gate's figures and the service."""
    from cascade.release import champion
    from cascade.runner import readiness
    from cascade.runner import status as service_status

    with _errors():
        release = champion(RELEASES)
        running = service_status()
    answer = readiness(running.url) if running else None
    service = {**running.model_dump(), "status": answer[0] if answer else "not answering"} if running else None
    if as_json:
        _print_json({"champion": release.manifest.model_dump() if release else None, "service": service})
        return
    from cascade.tables import status_tables

    _print_tables(status_tables(release, service))


@app.command()
def serve(
    release: ReleaseFolder = None,
    host: Annotated[str | None, typer.Option(help="Instead of serve.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Instead of serve.port.")] = None,
) -> None:
    """Serve in the foreground until Ctrl-C."""
    from cascade.service import run

    given = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    settings = _settings().model_copy(update=given)
    with _errors():
        run(_release(release), settings)


def _settings() -> ServeParams:
    with _errors():
        return load_params().serve


@contextmanager
def _errors() -> Iterator[None]:
    """Turn errors of use into one line on stderr and exit code 1; a fault of ours keeps its traceback."""
    from cascade.access import ServiceError
    from cascade.engines import EngineError
    from cascade.evaluate import FolderError
    from cascade.release import ReleaseError

    try:
        yield
    except (ConfigError, EngineError, FolderError, ReleaseError, ServiceError) as error:
        _complain(str(error))
        raise typer.Exit(1) from None


@contextmanager
def _cascade(folder: Path | None) -> Iterator[Cascade]:
    from cascade.answer import Cascade

    with _errors():
        cascade = Cascade(_release(folder)).load()
    try:
        yield cascade
    finally:
        cascade.close()


def _release(folder: Path | None) -> Release:
    from cascade.release import ReleaseError, champion, load_release

    release = load_release(folder) if folder else champion(RELEASES)
    if release is None:
        raise ReleaseError(f"{RELEASES}: no champion yet; `make run` trains and promotes one, or give --release")
    return release


def _predict(cascade: Cascade, path: Path, settings: ServeParams) -> Answer:
    from cascade.evaluate import read_image

    return cascade.answer([read_image(path, settings)])[0]


def _print_answers(answers: dict[str, Answer]) -> None:
    from cascade.tables import answer_table

    _print_tables([answer_table(answers)])


def _print_tables(tables: list[Any]) -> None:
    from rich.console import Console

    Console().print(*tables, sep="\n")


def _print_json(document: object) -> None:
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def _complain(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    app()
