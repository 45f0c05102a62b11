"""The command line: `streetvision predict`, `evaluate`, `status`, `serve`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade.local.commands import add_commands, on_cluster, run_command

if TYPE_CHECKING:
    from cascade.config import RuntimeParams
    from cascade.core.cascade import Cascade, Prediction
    from cascade.display.saving import PictureFolder
    from cascade.release.store import CropSettings
    from cascade.video.clip import ClipPrediction

app = typer.Typer(
    help="Does a street image show roadworks?", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
Predictor = Callable[[Path], Iterator["Prediction | ClipPrediction"]]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ReleaseFolder = Annotated[Path | None, typer.Option("--release", help="A release folder; the champion by default.")]


@app.command()
def predict(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="Images, or clips: mp4, mov, webm, mkv, avi, ts.")
    ] = None,
    release: ReleaseFolder = None,
    batch: Annotated[Path | None, typer.Option(help="A folder or parquet files to score into --out.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the parquet shards of --batch.")] = None,
    url: Annotated[str | None, typer.Option(help="Ask the service there, as http://127.0.0.1:8080.")] = None,
    key_env: Annotated[str | None, typer.Option(help="The variable that holds the key of the service.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Add a table of the stages.")] = False,
    save: Annotated[Path | None, typer.Option(help="Write pictures with boxes, words and caption there.")] = None,
    as_json: Json = False,
) -> None:
    """Predict image files and clips, one line each.

    It needs no service, and asks one with --url. A file that cannot be read gets a line on stderr, and the exit code
    is 1. With --batch it is `streetvision predict-batch`, which resumes.
    """
    from cascade.local.files import InputError

    if batch or out:
        if batch is None or out is None or paths or url or key_env or save or trace:
            _complain("--batch INPUT and --out FOLDER belong together, and go with --release and --json alone")
            raise typer.Exit(1)
        _predict_batch(batch, out, release, as_json=as_json)
    if not paths:
        _complain("name images or clips, or a folder with --batch INPUT --out FOLDER")
        raise typer.Exit(1)
    if url and (release or save):
        _complain("--url goes with neither --release nor --save: the service has its own release, and sends no pixels")
        raise typer.Exit(1)
    if key_env and not url:
        _complain("--key-env names the key of a service; it goes with --url")
        raise typer.Exit(1)
    predictions: dict[str, Prediction | ClipPrediction] = {}
    show = None if as_json else _printer(paths, trace=trace)
    bad = 0
    with _predictor_there(url, key_env) if url else _predictor_here(release, save, paths) as predict_one:
        for path in paths:
            try:
                for prediction in predict_one(path):
                    predictions[str(path)] = prediction
                    if show:
                        show(str(path), prediction)
            except InputError as error:
                bad += 1
                _complain(f"{path}: {error}")
    if as_json:
        _print_json({path: prediction.model_dump() for path, prediction in predictions.items()})
    if bad:
        raise typer.Exit(1)


def _predict_batch(source: Path, out: Path, release: Path | None, *, as_json: bool) -> None:
    chosen = ["--release", str(release)] if release else []
    run_command("predict-batch", [str(source), "--out", str(out), *chosen, *(["--json"] if as_json else [])])


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Holds manifest.csv, or subfolders roadwork/ and clear/.")],
    release: ReleaseFolder = None,
    as_json: Json = False,
    stage: Annotated[str | None, typer.Option(help="One stage alone: classifier, detectors, vlm or ocr.")] = None,
    crops: Annotated[int | None, typer.Option(help="Squares that stage 1 gets of a wide picture.")] = None,
    pool: Annotated[str, typer.Option(help="mean or max of their logits.")] = "mean",
    prior: Annotated[str, typer.Option(help="Share of roadwork that figures are for; own: the folder's.")] = "0.5",
) -> None:
    """Score a release on a labelled folder of your own.

    Figures are weighted to a share of roadwork of one half, which validators draw, whatever the folder's own share.
    Images that cannot be read get a line on stderr, and the exit code is 1. With `scale.engine: ray` in params.yaml it
    is `streetvision evaluate-batch`.
    """
    from cascade.display.report import show_report
    from cascade.evaluate.folder import read_folder, score, summarise
    from cascade.labelled.files import FolderError
    from cascade.local.options import crops_given, prior_given

    with _errors():
        if on_cluster():
            chosen = {"--release": release, "--stage": stage, "--crops": crops, "--pool": pool, "--prior": prior}
            options = [word for name, value in chosen.items() if value is not None for word in (name, str(value))]
            run_command("evaluate-batch", [str(folder), *options, *(["--json"] if as_json else [])])
    left_out: list[dict[str, str]] = []
    share = prior_given(prior)
    with _errors(FolderError):
        samples = read_folder(folder, left_out)
    with _errors(FolderError), _cascade(release, stage, crops_given(crops, pool)) as (cascade, params):
        scored, skipped = score(cascade, samples, params.serve)
        report = summarise(scored, [*left_out, *skipped], cascade.release.id, prior=share)
    raise typer.Exit(show_report(report, as_json=as_json))


@app.command()
def status(as_json: Json = False) -> None:
    """Show the champion's figures and stages, and the service.

    The champion's files are checked by their size alone; `serve` compares their digests.
    """
    from cascade.api.process import readiness
    from cascade.api.process import status as service_status
    from cascade.release.store import RELEASES, champion
    from cascade.stages.describe import describe_stages

    with _errors():
        release = champion(RELEASES, digests=False)
        stages = describe_stages(release, _gpu_stages()) if release else []
        running = service_status()
    answer = readiness(running.url) if running else None
    service = {**running.model_dump(), "status": answer[0] if answer else "not answering"} if running else None
    manifest = release.manifest if release else None
    if as_json:
        facts = [stage.model_dump() for stage in stages]
        _print_json({"champion": manifest.model_dump() if manifest else None, "stages": facts, "service": service})
        return
    from cascade.display.status import status_tables

    _print_tables(status_tables(manifest, stages, service))


def _gpu_stages() -> tuple[str, ...]:
    """`memory.gpu_stages`; none where the parameters cannot be read, which another command complains about."""
    from cascade.config import ConfigError, load_runtime_params

    try:
        return load_runtime_params().memory.gpu_stages
    except ConfigError:
        return ()


@app.command()
def serve(
    release: ReleaseFolder = None,
    host: Annotated[str | None, typer.Option(help="Instead of serve.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Instead of serve.port.")] = None,
) -> None:
    """Serve in the foreground until Ctrl-C."""
    from cascade.api.app import run
    from cascade.config import load_runtime_params
    from cascade.local.session import find_release

    given = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    with _errors():
        params = load_runtime_params()
        run(find_release(release), params.model_copy(update={"serve": params.serve.model_copy(update=given)}))


@contextmanager
def _errors(*more: type[Exception]) -> Iterator[None]:
    """Turn errors of use into one line on stderr and exit code 1; a fault of ours keeps its traceback.

    Args:
        more: errors of one command, whose modules the others need not import.
    """
    from cascade.api.auth import ServiceError
    from cascade.config import ConfigError
    from cascade.core.memory import MemoryLimitError
    from cascade.engines.base import EngineError
    from cascade.release.store import ReleaseError

    known: tuple[type[Exception], ...] = (MemoryLimitError, ConfigError, EngineError, ReleaseError, ServiceError, *more)
    try:
        yield
    except known as error:
        _complain(str(error))
        raise typer.Exit(1) from None


@contextmanager
def _cascade(
    folder: Path | None, stage: str | None = None, crops: CropSettings | None = None
) -> Iterator[tuple[Cascade, RuntimeParams]]:
    from cascade.config import load_runtime_params
    from cascade.local.session import open_cascade

    with _errors():
        params = load_runtime_params()
        with open_cascade(folder, params, stage=stage, crops=crops) as cascade:
            yield cascade, params


@contextmanager
def _predictor_here(release: Path | None, save: Path | None, paths: list[Path]) -> Iterator[Predictor]:
    """Give what predicts a file in this process; its picture is written once the prediction is shown."""
    from cascade.decoding.pool import Decoders
    from cascade.local.files import predict_file, save_picture

    pictures = _picture_folder(save, paths)
    with _cascade(release) as (cascade, params), Decoders(pictures=1) as decoders:

        def predict_one(path: Path) -> Iterator[Prediction | ClipPrediction]:
            prediction, image = predict_file(cascade, path, params, decoders)
            yield prediction
            if pictures:
                save_picture(pictures, path, prediction, image, params, decoders)

        yield predict_one


@contextmanager
def _predictor_there(url: str, key_env: str | None) -> Iterator[Predictor]:
    """Give what has a service predict a file."""
    from cascade.client import Client, ClientError
    from cascade.local.files import InputError
    from cascade.local.remote import key_of, predict_remote

    with _errors(InputError, ClientError), Client(url, key_of(key_env)) as client:
        yield lambda path: iter([predict_remote(client, path)])


def _printer(paths: list[Path], *, trace: bool) -> Callable[[str, Prediction | ClipPrediction], None]:
    """Give what prints each prediction as it comes, all of them aligned."""
    from rich.console import Console

    from cascade.display.predictions import path_width, prediction_line, trace_tables

    console = Console()
    width = path_width(map(str, paths), console.width)

    def show(path: str, prediction: Prediction | ClipPrediction) -> None:
        print(prediction_line(path, prediction, width), flush=True)
        for table in trace_tables(prediction) if trace else ():
            console.print(table)

    return show


def _picture_folder(folder: Path | None, paths: list[Path]) -> PictureFolder | None:
    from cascade.display.saving import PictureFolder

    try:
        return PictureFolder(folder, paths) if folder else None
    except OSError as error:
        _complain(f"--save {folder}: {error.strerror}")
        raise typer.Exit(1) from None


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


add_commands(app)

if __name__ == "__main__":
    main()
