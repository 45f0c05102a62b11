"""The table at the end of a run: figures, release, three answers, and where to look next."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from cascade.release.store import Release
from tasks.release.smoke_test import SmokeResult

FIGURES = ("prior", "mcc", "accuracy", "reward", "auc", "ece", "n")
NEXT = (
    ("{url}/v1/predict", "the service; `streetvision predict PICTURE` asks the same release from the command line"),
    ("make ui", "Prefect: runs, logs, pictures of each stage; MLflow: parameters, metrics, versions"),
    ("dvc metrics show", "the figures of every stage"),
    ("var/ledger.jsonl", "who promoted what, when and why"),
    ("make stop", "stop the service"),
)


def print_summary(release: Release, url: str, replies: list[SmokeResult], console: Console | None = None) -> None:
    """Print what stands after a run."""
    console = console or Console()
    console.print(_figures(release), _answers(replies), _next(url))


def _figures(release: Release) -> Table:
    table = Table(title=f"Release {release.id} on the challenge set", title_justify="left")
    gate = release.manifest.gate
    shown = [name for name in FIGURES if isinstance(gate.get(name), int | float)]
    for name in shown:
        table.add_column(name, justify="right")
    table.add_row(*(f"{gate[name]:.0f}" if name == "n" else f"{gate[name]:.4f}" for name in shown))
    return table


def _answers(replies: list[SmokeResult]) -> Table:
    table = Table("picture", "truth", "answer", title="Three challenge pictures over HTTP", title_justify="left")
    table.add_column("probability", justify="right")
    table.add_column("ms", justify="right")
    for reply in replies:
        figures = f"{reply.probability:.3f}", f"{reply.milliseconds:.0f}"
        table.add_row(reply.picture, reply.truth, reply.label, *figures)
    return table


def _next(url: str) -> Table:
    table = Table("where", "what", title="Where to look next", title_justify="left")
    for where, what in NEXT:
        table.add_row(where.format(url=url), what)
    return table
