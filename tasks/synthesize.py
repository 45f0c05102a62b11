"""Step `synthesize`: pictures made to order, by rendering or by diffusion, screened before they may train.

`python -m tasks.synthesize` reads data/pulled, models/adapted and models/probe, and writes data/synthetic:
accepted.parquet goes into training, review.parquet to a person, sheet.jpg shows both. docs/synthesis.md says more.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tasks.common.files import new_folder, sha256_file, write_bytes, write_json
from tasks.config import ConfigError, SynthesizeParams, load_params
from tasks.data.schema import DataError, arrow_schema, split_file
from tasks.synthesis.screen import ImageScorer, ScreenedImages, screen
from tasks.synthesis.sheet import draw_sheet
from tasks.synthesis.work import WORK, SyntheticImage, clear_others

if TYPE_CHECKING:
    import pyarrow as pa

PULLED, BACKBONE, PROBE = Path("data/pulled"), Path("models/adapted"), Path("models/probe")
SYNTHETIC, REPORT = Path("data/synthetic"), Path("reports/synthesize/metrics.json")
NAMES = {1: "roadwork", 0: "none"}
DIGITS = 4  # of a probability: what lies behind differs between machines


def synthesize(
    params: SynthesizeParams,
    looker: ImageScorer,
    pulled: Path = PULLED,
    folder: Path = SYNTHETIC,
    report: Path = REPORT,
    work: Path = WORK,
) -> dict[str, Any]:
    """Make pictures, screen them, and put `folder` in place in one step.

    Args:
        params: section `synthesize`.
        looker: the current head.
        pulled: data folder.
        folder: gets accepted.parquet, review.parquet, manifest.json and sheet.jpg.
        report: gets the counts.
        work: where finished pictures are kept until their settings change, so that a killed run loses none.

    Returns:
        Counts, as written to `report`.

    Raises:
        DataError: the data is missing or the engine cannot run.
    """
    if missing := [path for path in [split_file(pulled, "train")] if not path.is_file()]:
        raise DataError(f"{missing[0]}: no such file; `dvc repro pull_data` writes it")
    pictures, about = _make(params, split_file(pulled, "train"), work)
    name = about.pop("work")
    kept = screen(pictures, pulled, looker, params)
    counts = {"engine": params.engine, **_counts(kept), "left_out": about.pop("left_out", {})}
    with new_folder(folder) as partial:
        _write_parquet(partial / "accepted.parquet", kept.accepted)
        _write_parquet(partial / "review.parquet", kept.review, kept.probability)
        draw_sheet(kept, partial / "sheet.jpg", params.seed)
        files = {path.name: sha256_file(path) for path in sorted(partial.iterdir())}
        write_json(partial / "manifest.json", {"files": files, "counts": counts, "engine": about})
    write_json(report, counts)
    clear_others(work, name)
    return counts


def _make(params: SynthesizeParams, train: Path, work: Path) -> tuple[list[SyntheticImage], dict[str, Any]]:
    if params.engine == "render":
        from tasks.synthesis import render

        return render.make(params, work)
    from tasks.synthesis import sdxl

    return sdxl.make(params, train, work)


def _counts(kept: ScreenedImages) -> dict[str, Any]:
    groups = {"accepted": kept.accepted, "review": kept.review, "near_duplicates": kept.duplicates}
    counted = {what: Counter(picture.row.label for picture in group) for what, group in groups.items()}
    return {NAMES[label]: {what: counted[what][label] for what in groups} for label in NAMES}


def _write_parquet(path: Path, pictures: Sequence[SyntheticImage], probability: Sequence[float] | None = None) -> None:
    """Write pictures under the columns of `tasks.data.schema`, `origin` (JSON), and `probability` for a reviewer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [
        {**picture.row.to_record(), "origin": json.dumps(picture.origin, sort_keys=True, ensure_ascii=False)}
        for picture in pictures
    ]
    schema = arrow_schema().append(pa.field("origin", pa.string()))
    if probability is not None:
        schema = schema.append(pa.field("probability", pa.float64()))
        records = [{**one, "probability": round(p, DIGITS)} for one, p in zip(records, probability, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(_table(records, schema), buffer, compression="zstd", row_group_size=64)
    write_bytes(path, buffer.getvalue())


def _table(records: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(records, schema=schema)


def with_changes(params: SynthesizeParams, changes: dict[str, Any]) -> SynthesizeParams:
    """Give the section with some keys changed, checked anew.

    Raises:
        ConfigError: the result does not fit.
    """
    try:
        return SynthesizeParams.model_validate({**params.model_dump(), **changes})
    except ValidationError as error:
        lines = [f"  synthesize.{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError("\n".join(["params.yaml with the options given does not fit:", *lines])) from None


def _slice(text: str) -> tuple[str, list[str]]:
    name, separator, values = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text}: expected name=value,value")
    return name, values.split(",")


def _arguments(arguments: list[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m tasks.synthesize", description=__doc__)
    parser.add_argument("--engine", choices=["render", "sdxl"])
    parser.add_argument("--num-positive", type=int, metavar="N", help="pictures with roadworks")
    parser.add_argument("--num-negative", type=int, metavar="M", help="pictures without")
    parser.add_argument("--seed", type=int)
    parser.add_argument(
        "--slice", dest="slices", type=_slice, action="append", metavar="NAME=A,B", help="only these: time=night,dusk"
    )
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    return {**given, "slices": dict(given["slices"])} if "slices" in given else given


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    changes = _arguments(arguments)
    try:
        params = with_changes(load_params().synthesize, changes)
        for path in (BACKBONE / "manifest.json", PROBE / "head.json"):
            if not path.is_file():
                raise DataError(f"{path}: no such file; `dvc repro probe` writes it")
        from tasks.probe import Scorer

        print(synthesize(params, Scorer(BACKBONE, PROBE)))
    except (ConfigError, ValueError, OSError) as error:
        print(f"synthesize: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
