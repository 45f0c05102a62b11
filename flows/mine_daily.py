"""Every night: the pictures that the cascade found hard, as a dated batch for review. `python -m flows.mine_daily`.

By hand it takes clips and folders besides the service's inbox: `python -m flows.mine_daily my_clips/ --fps 2`.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from filelock import FileLock, Timeout
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from cascade.decoding.files import find_clips
from cascade.inbox.store import expire, forget
from cascade.release.store import champion
from flows.dvc.batch import publish_batch, publish_figures, publish_rejected, track
from flows.dvc.errors import PipelineError
from flows.dvc.limits import make_limits_by_hand, slot
from flows.server.drift_artifact import publish_drift
from flows.server.events import request_retrain
from flows.server.names import run_name, scheduled_day
from flows.server.recorded import RECORDED
from tasks.config import ConfigError, Params, load_params
from tasks.data.batches import HARD_CASES, MANIFEST, batch_digests, check_batch, find_batches
from tasks.data.pull import PULLED
from tasks.data.readers import Rejected
from tasks.data.schema import DataError, split_file
from tasks.mining.database import DatabaseDown
from tasks.mining.sources import Candidate, gather
from tasks.monitoring import drift
from tasks.monitoring.embedding import embed, embedding_space
from tasks.monitoring.figures import MonitoredFigure, batch_size, new_labels
from tasks.monitoring.runs import write_series
from tasks.release.collect import RELEASES
from tasks.stores.addresses import mongodb_uri

# beside Prefect's own limit, which knows nothing of a run by hand without a server
TURN = Path("var/mine.lock")
HEAD = Path("models/head")


class MiningError(RuntimeError):
    """Mining cannot run now; nothing was changed."""


class MiningSources(BaseModel):
    """The sources of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    inbox: bool = Field(default=True, description="What the service kept: uncertain answers, disagreements, control.")
    folder: Path | None = Field(default=None, description="Pictures and clips at any depth.")
    videos: list[Path] = Field(default=[], description="Dashcam clips.")
    frames_per_second: float = Field(default=1.0, gt=0, le=60, description="Frames taken a second of a clip.")
    pool: bool = Field(default=False, description="The pool split too; the pipeline's mine stage does that.")

    def clips(self) -> list[Path]:
        """The clips that are named and those in the folder."""
        return [*self.videos, *(find_clips(self.folder) if self.folder is not None else ())]


@flow(name="mine-daily", flow_run_name=run_name, **RECORDED)
def mine_daily(date: datetime.date | None = None, sources: MiningSources | None = None, request: bool = True) -> None:
    """Choose a day's hard cases, version the batch, show it, and request a retrain where a figure passes its limit.

    A batch is never changed: where the date has one, it is kept, and only what a run that was cut short left is done.

    Args:
        date: of the batch; by default the day for which the run was scheduled, in UTC.
        sources: what to look at; by default the service's inbox.
        request: off emits no event.

    Raises:
        MiningError: another run is at work.
        DataError: a source is missing, or a batch is damaged.
    """
    params = load_params()
    make_limits_by_hand()
    day = (date or scheduled_day()).isoformat()
    batch = HARD_CASES / day
    with turn():
        expire(params.inbox.folder, params.inbox.keep_days)
        choose(params, sources or MiningSources(), batch, day)
        if batch.is_dir():
            keep(params, batch)
        figures = measure(params, batch, day)
        if request:
            request_retrain(figures, day)


@contextmanager
def turn(lock: Path = TURN) -> Iterator[None]:
    """Be the only mining run of this folder, or fail at once."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise MiningError(f"another mining run is at work (it holds {lock}); this one changed nothing") from None


@task(task_run_name="choose images", cache_policy=NO_CACHE, persist_result=False)
def choose(params: Params, sources: MiningSources, batch: Path, day: str) -> None:
    """Mine the sources into a new batch; without a single candidate there is none, and one that is there stays.

    Whatever fails in here leaves no batch and the inbox as it was.
    """
    rejected: list[Rejected] = []
    if (batch / MANIFEST).is_file():
        get_run_logger().info("%s is there already and stays as it is", batch)
        # brings its view back into FiftyOne where that was lost
        into_batch(params, [], batch, day)
        return
    candidates = fresh(params, sources, rejected)
    first = next(candidates, None)
    if first is None:
        get_run_logger().info("no new picture in any source; no batch for %s", day)
    else:
        get_run_logger().info("%s: %s", batch, into_batch(params, chain([first], candidates), batch, day))
    publish_rejected(rejected)


def into_batch(params: Params, candidates: Iterable[Candidate], batch: Path, day: str) -> dict[str, Any]:
    """Mine with the head of the release, against what is held out and what is known.

    Raises:
        DatabaseDown: FiftyOne's database does not answer.
        DataError: a split is missing, or the batch was changed.
    """
    from tasks.mining.mine import MiningInputs, mine
    from tasks.scale.mine import mining_on

    inputs = MiningInputs(head=HEAD, mongodb=mongodb_uri(params.stores))
    return mine(params.mine, candidates, batch=batch, date=day, inputs=inputs, engine=mining_on(params.scale))


def fresh(params: Params, sources: MiningSources, rejected: list[Rejected]) -> Iterator[Candidate]:
    """The candidates that lie in no batch yet."""
    known = batch_digests(find_batches())
    found = gather(
        pool=split_file(PULLED, "pool") if sources.pool else None,
        inbox=params.inbox.folder if sources.inbox else None,
        folder=sources.folder,
        videos=sources.clips(),
        frames_per_second=sources.frames_per_second,
        max_pixels=params.mine.max_pixels,
        min_side=params.mine.min_side,
        rejected=rejected,
    )
    return (one for one in found if one.sha256 not in known)


@task(task_run_name="keep the batch", cache_policy=NO_CACHE, persist_result=False)
def keep(params: Params, batch: Path) -> None:
    """Check a complete batch, hand it to DVC, show it; only then do its pictures leave the inbox.

    Pictures of the random slice stay until they are too old: drift is measured on all of it, hard or not.
    """
    manifest = check_batch(batch)
    # `make run` may work in the same DVC repository
    with slot("dvc"):
        track(batch)
    publish_batch(batch, manifest)
    gone = forget(params.inbox.folder, batch_digests([batch]))
    get_run_logger().info("%d pictures of %s left the inbox", gone, batch)


@task(task_run_name="measure the traffic", cache_policy=NO_CACHE, persist_result=False)
def measure(params: Params, batch: Path, day: str) -> list[MonitoredFigure]:
    """The figures that may request a retrain, as a table."""
    limits = params.inbox.retrain
    figures = [batch_size(batch, limits.batch_pictures), new_labels(limits.new_labels)]
    release = champion(RELEASES)
    if release is not None:
        figures.append(watch_drift(params, release.id, day))
    publish_figures(figures)
    return figures


def watch_drift(params: Params, release: str, day: str) -> MonitoredFigure:
    """Compare the newest traffic with the first that the release answered; the figure, its series and its report."""
    rules = params.monitoring.drift
    figure = drift.drift(rules, params.inbox.folder, release, day, embed=embed, space=embedding_space())
    series = drift.samples(drift.STATE, release, rules)
    write_series(params.serve.metrics_folder, "drift", series, get_run_logger().warning)
    publish_drift(drift.STATE / release, day)
    return figure


def main(
    paths: Annotated[list[Path] | None, typer.Argument(help="Clips, or one folder of pictures and clips.")] = None,
    date: Annotated[
        datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Today (UTC) by default.")
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames a second of a clip.")] = 1.0,
    inbox: Annotated[bool, typer.Option(help="Look at the service's inbox too.")] = True,
) -> None:
    """Mine the service's inbox, and the clips and the folder that are given."""
    folders = [path for path in paths or [] if path.is_dir()]
    if len(folders) > 1:
        sys.exit("error: at most one folder; put the others below one")
    videos = [path for path in paths or [] if not path.is_dir()]
    folder = folders[0] if folders else None
    try:
        sources = MiningSources(inbox=inbox, folder=folder, videos=videos, frames_per_second=fps)
        mine_daily(date.date() if date else None, sources)
    except (ConfigError, DatabaseDown, DataError, MiningError, PipelineError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"batches: {HARD_CASES}; review the newest one with `streetvision review`")


if __name__ == "__main__":
    typer.run(main)
