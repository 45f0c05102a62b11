"""The command line: `streetvision predict`, `evaluate`, `status`, `serve`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade.config import ConfigError, ServeParams, load_runtime_params

if TYPE_CHECKING:
    from cascade.core.cascade import Cascade, Prediction
    from cascade.release.store import CropSettings, Release
    from cascade.video.clip import ClipPrediction

RELEASES = Path("models/releases")
COMMANDS = "streetvision.commands"
app = typer.Typer(
    help="Does a street image show roadworks?", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ReleaseFolder = Annotated[Path | None, typer.Option("--release", help="A release folder; the champion by default.")]


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files, or clips: mp4, webm.")],
    release: ReleaseFolder = None,
    as_json: Json = False,
) -> None:
    """Predict image files and clips, in this process; a bad one gets a line on stderr and exit code 1."""
    from cascade.preprocess.image import BadImage

    serve = _settings()
    answers: dict[str, Prediction | ClipPrediction] = {}
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
    stage: Annotated[str | None, typer.Option(help="One stage alone: classifier, detectors, vlm or text.")] = None,
    crops: Annotated[int | None, typer.Option(help="Squares that stage 1 sees of a wide picture.")] = None,
    pool: Annotated[str, typer.Option(help="mean or max of their logits.")] = "mean",
) -> None:
    """Score a release on a labelled folder of your own; images that cannot be read give exit code 1."""
    from cascade.evaluate.folder import read_folder, score, summarise

    serve = _settings()
    with _errors():
        samples = read_folder(folder)
    with _errors(), _cascade(release, stage, _crops(crops, pool)) as cascade:
        scored, skipped = score(cascade, samples, serve)
        report = summarise(scored, skipped, cascade.release.id)
    for one in report.skipped:
        _complain(one["message"])
    if as_json:
        _print_json(report.model_dump())
    else:
        from cascade.display.tables import report_tables

        _print_tables(report_tables(report))
    if report.skipped:
        raise typer.Exit(1)


@app.command()
def status(as_json: Json = False) -> None:
    """Show the champion, its gate's figures and the service."""
    from cascade.process.service import readiness
    from cascade.process.service import status as service_status
    from cascade.release.store import champion

    with _errors():
        release = champion(RELEASES)
        running = service_status()
    answer = readiness(running.url) if running else None
    service = {**running.model_dump(), "status": answer[0] if answer else "not answering"} if running else None
    if as_json:
        _print_json({"champion": release.manifest.model_dump() if release else None, "service": service})
        return
    from cascade.display.tables import status_tables

    _print_tables(status_tables(release, service))


@app.command()
def serve(
    release: ReleaseFolder = None,
    host: Annotated[str | None, typer.Option(help="Instead of serve.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Instead of serve.port.")] = None,
) -> None:
    """Serve in the foreground until Ctrl-C."""
    from cascade.api.app import run

    given = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    with _errors():
        params = load_runtime_params()
        run(_release(release), params.model_copy(update={"serve": params.serve.model_copy(update=given)}))


def _add_commands() -> None:
    """Add the commands that other packages offer, as entry points say: what serves needs to import none of them."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=COMMANDS):
        try:
            app.add_typer(entry.load())
        except Exception as error:
            # `predict` must work where mining is not installed, or broken
            _complain(f"streetvision {entry.name} is not available: {error}")


def _settings() -> ServeParams:
    with _errors():
        return load_runtime_params().serve


@contextmanager
def _errors() -> Iterator[None]:
    """Turn errors of use into one line on stderr and exit code 1; a fault of ours keeps its traceback."""
    from cascade.api.auth import ServiceError
    from cascade.core.memory import MemoryLimitError
    from cascade.engines.base import EngineError
    from cascade.evaluate.folder import FolderError
    from cascade.release.store import ReleaseError

    try:
        yield
    except (MemoryLimitError, ConfigError, EngineError, FolderError, ReleaseError, ServiceError) as error:
        _complain(str(error))
        raise typer.Exit(1) from None


@contextmanager
def _cascade(folder: Path | None, stage: str | None = None, crops: CropSettings | None = None) -> Iterator[Cascade]:
    """The whole cascade, or one stage alone, loaded on demand; a person at a terminal waits for an answer."""
    from cascade.core.cascade import Cascade
    from cascade.core.measured_sizes import SIZES

    with _errors():
        release = _release(folder)
        settings = release.settings.model_copy(update={"crops": crops} if crops else {})
        params = load_runtime_params()
        cascade = Cascade(
            release,
            params.memory,
            params.timeouts,
            only=None if stage is None else {stage},
            enforce_timeouts=False,
            sizes=SIZES,
            settings=settings,
            # a stage alone may have no opinion; neither is then the fair answer
            fallback=None if stage is None else 0.5,
            spare=RELEASES.parent,
        ).load(ahead=False)
    try:
        yield cascade
    finally:
        cascade.close()


def _crops(count: int | None, pool: str) -> CropSettings | None:
    from pydantic import ValidationError

    from cascade.release.store import CropSettings

    try:
        return None if count is None else CropSettings.model_validate({"count": count, "pool": pool})
    except ValidationError as error:
        _complain(f"--crops {count} --pool {pool}: {error.errors()[0]['msg']}")
        raise typer.Exit(1) from None


def _release(folder: Path | None) -> Release:
    from cascade.release.store import ReleaseError, champion, load_release

    release = load_release(folder) if folder else champion(RELEASES)
    if release is None:
        raise ReleaseError(f"{RELEASES}: no champion yet; `make run` trains and promotes one, or give --release")
    return release


def _predict(cascade: Cascade, path: Path, settings: ServeParams) -> Prediction | ClipPrediction:
    from cascade.evaluate.folder import read_image
    from cascade.preprocess.image import BadImage
    from cascade.video.clip import predict_clip
    from cascade.video.reader import is_clip

    try:
        with path.open("rb") as file:
            clip = is_clip(file.read(16))
        if clip:
            return predict_clip(cascade, path, load_runtime_params().clips, min_side=settings.min_side)
    except OSError as error:
        raise BadImage("unreadable", f"the file cannot be read: {error.strerror}") from None
    return cascade.predict([read_image(path, settings)])[0]


def _print_answers(answers: dict[str, Prediction | ClipPrediction]) -> None:
    from cascade.core.cascade import Prediction
    from cascade.display.tables import prediction_table, timeline_table, trace_table
    from cascade.video.clip import ClipPrediction

    pictures = {path: answer for path, answer in answers.items() if isinstance(answer, Prediction)}
    clips = {path: answer for path, answer in answers.items() if isinstance(answer, ClipPrediction)}
    tables = [prediction_table(pictures), trace_table(pictures)] if pictures else []
    _print_tables([*tables, *(timeline_table(path, clip) for path, clip in clips.items())])


def _print_tables(tables: list[Any]) -> None:
    from rich.console import Console

    Console().print(*tables, sep="\n")


def _print_json(document: object) -> None:
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def _complain(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> None:
    """Run the command line; a library that an extra would bring gets one line instead of a traceback."""
    from cascade.extras import explain

    try:
        app()
    except ModuleNotFoundError as error:
        if (line := explain(error, "this command")) is None:
            raise
        _complain(line)
        sys.exit(1)


_add_commands()

if __name__ == "__main__":
    main()
