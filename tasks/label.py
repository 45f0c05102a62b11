"""Step `label`: `python -m tasks.label` turns mined batches and their reviews into data/labelled.

Only what a person has accepted gets in. `--truth data/pulled/pool.parquet` writes data/reviews/pool.csv from a labelled
file instead: in the sample the renderer, who knows what it has drawn, plays the reviewer.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.common.files import new_folder, read_json, sha256_file, write_json
from tasks.data.reviews import REVIEWS, Review, read_reviews, write_file
from tasks.data.schema import DataError, arrow_schema, check_columns, read_records

MINED, HARD_CASES = Path("data/mined"), Path("data/hard_cases")
LABELLED = Path("data/labelled")
REPORT = Path("reports/label/metrics.json")
BATCH, MANIFEST, TRAIN = "batch.parquet", "manifest.json", "train.parquet"
TRUTH = "pool"


def label(
    mined: Path = MINED,
    hard_cases: Path = HARD_CASES,
    reviews: Path = REVIEWS,
    folder: Path = LABELLED,
    report: Path = REPORT,
) -> dict[str, Any]:
    """Write `train.parquet`, which may hold no row, and `manifest.json` into `folder`.

    Returns:
        Counts, as written to `report`: batches, pictures, accepted, roadwork, rejected, unreviewed, and unknown, the
        reviews that name a picture of no batch.

    Raises:
        DataError: a batch is damaged, or reviews contradict each other.
    """
    words = read_reviews(reviews)
    batches = find_batches(mined, hard_cases)
    records: dict[str, dict[str, Any]] = {}
    counts: Counter[str] = Counter(dict.fromkeys(("accepted", "roadwork", "rejected", "unreviewed"), 0))
    seen: set[str] = set()
    for record in _pictures(batches):
        if record["sha256"] not in seen:
            seen.add(record["sha256"])
            review = words.get(record["sha256"])
            counts[_outcome(review)] += 1
            if review is not None and review.label is not None:
                records[record["sha256"]] = _labelled(record, review.label)
                counts["roadwork"] += review.label
    totals = {**counts, "batches": len(batches), "pictures": len(seen), "unknown": len(words.keys() - seen)}
    _write(folder, [records[digest] for digest in sorted(records)], totals)
    write_json(report, totals)
    return totals


def find_batches(mined: Path = MINED, hard_cases: Path = HARD_CASES) -> list[Path]:
    """The batches there are: the one of the pool, then the daily ones by date."""
    days = sorted(path for path in hard_cases.glob("*") if path.is_dir() and not path.name.startswith("."))
    return [*([mined] if mined.is_dir() else []), *days]


def check_batch(batch: Path) -> dict[str, Any]:
    """Give a batch's manifest, once every file that it lists is what it should be.

    Raises:
        DataError: names the file that is missing or altered.
    """
    try:
        manifest = read_json(batch / MANIFEST)
        files = {str(name): str(digest) for name, digest in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{batch / MANIFEST}: missing or damaged; `dvc checkout` or mine that batch again") from None
    for name, digest in files.items():
        if not (batch / name).is_file() or sha256_file(batch / name) != digest:
            raise DataError(f"{batch / name}: missing or not what its manifest says; `dvc checkout` brings it back")
    if BATCH not in files:
        raise DataError(f"{batch / MANIFEST}: does not list {BATCH}")
    return dict(manifest)


def write_truth(source: Path, reviews: Path = REVIEWS) -> int:
    """Write reviews of every picture of a labelled parquet file, in the name of the renderer; say how many.

    Raises:
        DataError: the file cannot be read or lacks a label.
    """
    words = []
    for record in _checked(source):
        if record["label"] not in (0, 1):
            raise DataError(f"{source}: label of {record['sha256']} is {record['label']}; expected 0 or 1")
        words.append(Review(record["sha256"], "accept", int(record["label"]), "renderer", TRUTH))
    write_file(reviews / f"{TRUTH}.csv", words)
    return len(words)


def _pictures(batches: list[Path]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        check_batch(batch)
        yield from _checked(batch / BATCH)


def _checked(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that has our columns, one at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{file}: not a parquet file that can be read: {error}") from None
    check_columns(file, schema)
    if missing := [name for name in arrow_schema().names if name not in schema.names]:
        raise DataError(f"{file}: missing column {', '.join(map(repr, missing))}")
    return read_records(file, arrow_schema().names)


def _outcome(review: Review | None) -> str:
    if review is None:
        return "unreviewed"
    return "rejected" if review.label is None else "accepted"


def _labelled(record: dict[str, Any], label: int) -> dict[str, Any]:
    """A row as training takes it; boxes of roadwork objects contradict the label `none`."""
    return {**record, "label": label, "source": "mined", "objects": record["objects"] if label else []}


def _write(folder: Path, records: list[dict[str, Any]], totals: dict[str, Any]) -> None:
    """The manifest last, so that its presence means that the rest is complete."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with new_folder(folder) as partial:
        pq.write_table(pa.Table.from_pylist(records, schema=arrow_schema()), partial / TRAIN)
        files = {TRAIN: sha256_file(partial / TRAIN)}
        write_json(
            partial / MANIFEST, {"files": files, "counts": totals, "pictures": [one["sha256"] for one in records]}
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tasks.label", description=__doc__)
    parser.add_argument("--truth", type=Path, metavar="PARQUET", help="write data/reviews/pool.csv from its labels")
    truth = parser.parse_args(arguments).truth
    try:
        print(label() if truth is None else f"{REVIEWS / TRUTH}.csv: {write_truth(truth)} reviews")
    except ValueError as error:
        print(f"label: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
