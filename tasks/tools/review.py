"""`streetvision review`: open a mined batch in the FiftyOne App, and turn the tags set there into labels."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer

from cascade.extras import require
from tasks.common.user import user_name
from tasks.config import ConfigError, load_params
from tasks.data.batches import HARD_CASES, MANIFEST, MINED, check_batch, find_batches
from tasks.data.reviews import REVIEWS, Review, read_file, write_file
from tasks.data.schema import DataError
from tasks.stores.addresses import mongodb_uri

PORT = 5151
app = typer.Typer()


class ReviewError(RuntimeError):
    """A batch cannot be reviewed as things are; the message says what to do."""


@app.command("review")
def review(
    batch: Annotated[str | None, typer.Argument(help="A date, or `mined`; the newest by default.")] = None,
    take: Annotated[bool, typer.Option("--import", help="Write the tags to data/reviews and end.")] = False,
    annotate: Annotated[str | None, typer.Option(metavar="BACKEND", help="Send to cvat or labelstudio.")] = None,
    reviewer: Annotated[str, typer.Option(help="Whose word it is.")] = "",
    port: Annotated[int, typer.Option(help="Of the App, on this machine.")] = PORT,
) -> None:
    """Open a mined batch in the FiftyOne App; --import turns its tags into labels.

    Tags: accept (what the model proposes is right), relabel (it is wrong), reject (of no use); or plainly roadwork or
    clear. With --annotate the batch goes to that server instead; with --import as well, its answers come back.
    """
    require("streetvision review", "fiftyone")
    with _errors():
        folder = find(batch)
        check_batch(folder)
        with _view(folder.name) as view:
            if take:
                _import(view, folder.name, annotate, reviewer or user_name())
            elif annotate:
                from tasks.mining.annotate import send

                print(f"sent as {send(view, annotate, folder.name)}")
            else:
                _open(view, folder.name, port)


def find(batch: str | None, mined: Path = MINED, hard_cases: Path = HARD_CASES) -> Path:
    """The folder of a batch: by its date, `mined`, or without a name the newest.

    Raises:
        ReviewError: there is none; the message lists those there are.
    """
    there = {folder.name: folder for folder in find_batches(mined, hard_cases) if (folder / MANIFEST).is_file()}
    if not there:
        raise ReviewError(f"no batch in {hard_cases} or {mined}; `python -m flows.mine_daily` makes one")
    name = batch or list(there)[-1]
    if name not in there:
        raise ReviewError(f"{name}: no such batch; there are {', '.join(there)}")
    return there[name]


def import_tags(view: Any, batch: str, reviewer: str, folder: Path = REVIEWS) -> list[Review]:
    """Write what people tagged in a view to `<folder>/<batch>.csv`, beside what it held, and give all of it.

    Raises:
        DataError: tags contradict each other; nothing is written.
    """
    from tasks.mining.tags import merged, read_tags, to_reviews

    file = folder / f"{batch}.csv"
    old = {one.sha256: one for _, one in read_file(file)} if file.is_file() else {}
    reviews = merged(old, to_reviews(read_tags(view), reviewer, batch))
    if reviews:
        write_file(file, reviews)
    return reviews


@contextmanager
def _view(batch: str) -> Iterator[Any]:
    """The view that mining saved for a batch."""
    from tasks.mining.database import connect, plain_words
    from tasks.mining.dataset import open_dataset

    params = load_params()
    name = params.mine.dataset
    fiftyone = connect(uri=mongodb_uri(params.stores))
    dataset = open_dataset(fiftyone, name)
    with plain_words():
        if not dataset.has_saved_view(batch):
            raise ReviewError(f"FiftyOne's dataset {name} does not know {batch}; mine that date again to restore it")
        yield dataset.load_saved_view(batch)


def _import(view: Any, batch: str, backend: str | None, reviewer: str) -> None:
    if backend:
        from tasks.mining.annotate import fetch

        fetch(view._dataset, backend, batch)
        view.reload()
    reviews = import_tags(view, batch, reviewer)
    counts = Counter(one.decision for one in reviews)
    said = ", ".join(f"{count} {decision}" for decision, count in sorted(counts.items())) or "nothing"
    print(f"{REVIEWS / batch}.csv: {said}; {max(len(view) - len(reviews), 0)} of {len(view)} not reviewed")
    if reviews:
        print("commit that file; `dvc repro label` or the next retrain takes it")


def _open(view: Any, batch: str, port: int) -> None:
    """Serve the App until Ctrl-C; the browser is the person's own."""
    from tasks.mining.app import serving

    # SIGTERM ends this process by an exception, so that the App's server is stopped too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("starting the App, which takes up to a minute", flush=True)
    with suppress(KeyboardInterrupt), serving(port) as url:
        print(f"batch {batch}, {len(view)} pictures: {url}/datasets/{view._dataset.slug}?view={batch}")
        print(f"tag them, then Ctrl-C and `streetvision review {batch} --import`", flush=True)
        Event().wait()


@contextmanager
def _errors() -> Iterator[None]:
    """Turn errors of use into one line on stderr and exit code 1; a fault of ours keeps its traceback."""
    from tasks.mining.annotate import AnnotationError
    from tasks.mining.app import AppError
    from tasks.mining.database import DatabaseDown

    try:
        yield
    except (AnnotationError, AppError, ConfigError, DatabaseDown, DataError, ReviewError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
