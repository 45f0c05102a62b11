"""What `make bench` measures: its rows, and the benches that they come from, in the order of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: in results and history.
        title: what was measured.
        unit: of ours and the peer's.
        peer: who does the same; empty where nobody does.
        better: of two ratios, or of two of ours where there is no peer.
        target: at least (higher) or at most (lower) so much.
        target_of: what it holds for.
        guarded: whether a worse ratio fails the run; off where equal runs differ by more than the limit.
    """

    name: str
    title: str
    unit: str
    peer: str = ""
    better: Literal["higher", "lower"] = "higher"
    target: float | None = None
    target_of: Literal["ratio", "ours"] = "ratio"
    guarded: bool = True


@dataclass(frozen=True)
class Bench:
    """A script that measures rows, in a process of its own.

    Attributes:
        name: as --only and --without take it.
        arguments: of the interpreter, before `--json FILE`.
        rows: that it writes.
        minutes: of one process, about, on two idle cores.
        repeats: processes; one that takes pairs by itself needs one.
        modules: that must be importable.
        files: that must be there, relative to the project.
        on_demand: only measured where --with names it.
        limit: minutes after which a process is ended.
    """

    name: str
    arguments: tuple[str, ...]
    rows: tuple[Row, ...]
    minutes: float
    repeats: int = 3
    modules: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    on_demand: bool = False
    limit: float = 30


_RUN = "models/classifier/classifier.json"

BENCHES = (
    Bench(
        "latency",
        (
            "-m",
            "tests.bench.latency",
        ),
        (Row("champion", "champion's engine, images/s at batch 16", "1/s", "batch 1"),),
        minutes=0.3,
        files=("models/releases/champion",),
    ),
    Bench(
        "stage1",
        ("-m", "tests.bench.stage1", "--large", "--int8"),
        (
            Row("stage1", "stage 1 as served, an image", "ms", "transformers' pipeline", target=4.0),
            Row("stage1_tta", "stage 1 with TTA where it runs", "ms", "transformers' pipeline"),
            Row("stage1_cut", "stage 1 as served, an image", "ms", "the pipeline, as many blocks"),
            Row("stage1_torch", "stage 1 as served, an image", "ms", "torch fp32, same model"),
            Row("large_int8", "DINOv2-L, int8", "ms", "torch fp32", target=2.5),
            Row("large_bf16", "DINOv2-L, bf16", "ms", "torch fp32", target=2.5),
        ),
        minutes=2,
        modules=("torch", "transformers"),
        files=(_RUN, "models/backbone/config.json", "models/head/head.json", "models/adapted/config.json"),
    ),
    Bench(
        "yolo",
        (
            "-m",
            "tests.bench.yolo",
        ),
        (Row("yolo", "YOLO11n, an image", "ms", "ultralytics", target=1.5),),
        minutes=0.3,
        modules=("torch", "ultralytics"),
        files=("models/detectors/detectors.json", "data/pulled/calibration.parquet"),
    ),
    Bench(
        "service",
        (
            "-m",
            "tests.bench.service",
        ),
        (
            Row("service_1", "service, requests at 1 connection", "1/s", "LitServe", target=2.0),
            Row("service_16", "service, requests at 16 connections", "1/s", "LitServe", target=1.2),
            # the ratio is that of a whole request to the stage in it
            Row("service_overhead", "added to stage 1 by the service", "ms", "stage 1 alone", "lower", 4.0, "ours"),
            Row("service_memory", "service, peak memory after load", "MB", "LitServe"),
        ),
        minutes=2.2,
        repeats=1,
        modules=("litserve",),
        files=(_RUN,),
    ),
    Bench(
        "selection",
        ("-m", "tests.bench.selection", "--peer"),
        (
            Row("selection", "k-center, 1,000 of 10,000", "s", "FiftyOne find_unique"),
            Row("selection_radius", "k-center, radius that is left", "", "FiftyOne find_unique"),
            Row("selection_100k", "mining's choice, 1,000 of 100,000", "s", "", "lower", 60, "ours"),
            Row("selection_memory", "mining's choice of 100,000, peak memory", "GB", "", "lower", 4, "ours"),
            Row("selection_1m", "mining's choice, 1,000 of 1,000,000", "s", "100,000", "lower", 10),
        ),
        minutes=2.5,
        modules=("fiftyone",),
    ),
    Bench(
        "shards",
        ("-m", "tests.bench.selection_shards"),
        (
            # 1 % of the coverage at most is lost
            Row("shards_mean", "320 of 1,000,000 by shards, mean distance", "", "exact choice", target=0.99),
            Row("shards_maximum", "320 of 1,000,000 by shards, largest distance", "", "exact choice", target=0.99),
            Row("shards_memory", "320 of 1,000,000 by shards, peak memory", "GB", "", "lower", 4, "ours"),
        ),
        minutes=10,
        repeats=1,
        on_demand=True,
        limit=240,
    ),
    Bench(
        "promotion",
        (
            "-m",
            "tests.bench.promotion",
        ),
        (
            Row("promotion_lost", "requests lost or wrong, 25 switches", "", "", "lower", 0, "ours"),
            # a 99th percentile of some hundred requests: 1.09 in one run, 1.49 in another
            Row("promotion_p99", "p99 around a switch", "s", "before the first", "lower", 2.0, guarded=False),
        ),
        minutes=3,
        repeats=1,
    ),
    Bench(
        "batch",
        ("-m", "tests.bench.batch", "--classifier", "models/classifier", "--pictures", "2000"),
        (
            # 15 % overhead at most
            Row("batch_ray", "batch prediction, Ray with one actor", "1/s", "local", target=0.87),
            Row("batch_actors", "batch prediction, Ray with two actors", "1/s", "one actor", target=1.7),
        ),
        minutes=15,
        repeats=1,
        modules=("ray",),
        files=(_RUN,),
        on_demand=True,
        limit=90,
    ),
    Bench(
        "warm_run",
        ("-m", "tests.bench.whole_run", "--warm"),
        (Row("warm_run", "make run, nothing stale", "s", "", "lower", 10, "ours"),),
        minutes=0.5,
        repeats=1,
        files=("models/releases/champion",),
    ),
    Bench(
        "cold_run",
        ("-m", "tests.bench.whole_run", "--cold"),
        (Row("cold_run", "make run of a fresh clone", "s", "", "lower", 480, "ours"),),
        minutes=30,
        repeats=1,
        on_demand=True,
        limit=180,
    ),
)
