"""Batch prediction on Ray against this process: the same parquet file, release and shards, one thread a model.

`python -m tests.bench.batch`, or `make bench ARGS="--with batch"`. Local, Ray with one actor and Ray with two take
turns. Ray's start counts to its time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from cascade.config import load_runtime_params
from cascade.release.build import build_release
from tasks.config.scale import ScaleParams
from tasks.scale.predict import predict_batch
from tests.bench.result import add_json, faster, write_result
from tests.support import tiny

PICTURES, SIDE, GROUP = 20_000, 224, 256
ENGINES = {
    "local": ScaleParams(),
    "one actor": ScaleParams(engine="ray", actors=1),
    "two actors": ScaleParams(engine="ray", actors=2),
}


def main() -> None:
    """Time the three engines in turns, and print their rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--classifier", type=Path, help="an exported classifier; a tiny one without it")
    add_json(parser)
    options = parser.parse_args()
    params = load_runtime_params()
    rates: dict[str, list[float]] = {name: [] for name in ENGINES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        release, source = _release(folder, options.classifier), _pictures(folder, options.pictures)
        for turn in range(options.rounds):
            for engine, scale in ENGINES.items():
                start = time.perf_counter()
                report = predict_batch(source, folder / f"{engine}-{turn}", params, scale, release)
                rates[engine].append(report["pictures"] / (time.perf_counter() - start))
                if report["refused"] or report["problems"]:
                    sys.exit(f"error: {engine}: {report}")
    _show(rates)
    local, one, two = (rates[engine] for engine in ENGINES)
    rows = {
        "batch_ray": [faster(ours, peer) for ours, peer in zip(one, local, strict=True)],
        "batch_actors": [faster(ours, peer) for ours, peer in zip(two, one, strict=True)],
    }
    write_result(options.json, rows)


def _release(folder: Path, classifier: Path | None) -> Path:
    """A release whose model takes one thread."""
    if classifier is None:
        return tiny.write_release(folder / "tiny").folder
    copy = folder / "classifier"
    copy.mkdir()
    for path in classifier.iterdir():
        if path.is_file():
            (copy / path.name).symlink_to(path.resolve())
    settings = json.loads((copy / "classifier.json").read_text())
    (copy / "classifier.json").unlink()
    (copy / "classifier.json").write_text(json.dumps({**settings, "threads": 1}))
    report = tiny.write_metrics(folder / "metrics.json")
    revision = {"data": "d" * 64, "code": "c" * 40}
    return build_release(copy, report, folder / "releases", revision=revision).folder


def _pictures(folder: Path, count: int) -> Path:
    """A parquet file of JPEGs as validators send them: blocks of colour, all different."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    path, random = folder / "pictures.parquet", np.random.default_rng(7)
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, count, GROUP):
            blocks = random.integers(0, 256, (min(GROUP, count - start), 14, 14, 3), dtype=np.uint8)
            images = [Image.fromarray(block).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for block in blocks]
            rows = [{"image": {"bytes": tiny.encoded(image), "path": None}} for image in images]
            writer.write_table(pa.Table.from_pylist(rows, schema))
    return path


def _show(rates: dict[str, list[float]]) -> None:
    table = Table("engine", "images/s", "against local")
    local = float(np.median(rates["local"]))
    for name, found in rates.items():
        rate = float(np.median(found))
        table.add_row(name, f"{rate:.1f}", f"{rate / local:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
