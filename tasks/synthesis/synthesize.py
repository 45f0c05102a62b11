"""Make pictures, screen them, and write data/synthetic."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.common.files import new_folder, sha256_file, write_bytes, write_json
from tasks.common.metrics import write_metrics
from tasks.config import SynthesizeParams
from tasks.data.pull import PULLED
from tasks.data.schema import DataError, arrow_schema, split_file
from tasks.synthesis.renderer import Render, run_renderer
from tasks.synthesis.screen import ImageScorer, ScreenedImages, screen
from tasks.synthesis.sheet import draw_sheet
from tasks.synthesis.work import WORK, SyntheticImage, clear_others

SYNTHETIC, REPORT = Path("data/synthetic"), Path("reports/synthesize/metrics.json")
HEADLINE = ("roadwork.accepted", "none.accepted")
NAMES = {1: "roadwork", 0: "none"}
DECIMALS = 4  # of a probability; more differ between machines


@dataclass(frozen=True)
class SynthesisPaths:
    """Folders and files that are read and written.

    Attributes:
        pulled: data folder.
        folder: gets accepted.parquet, review.parquet, manifest.json and sheet.jpg.
        report: gets the counts.
        work: finished pictures are kept there until their settings change, so that a killed run loses none.
    """

    pulled: Path = PULLED
    folder: Path = SYNTHETIC
    report: Path = REPORT
    work: Path = WORK


def synthesize(
    params: SynthesizeParams, scorer: ImageScorer, paths: SynthesisPaths | None = None, render: Render = run_renderer
) -> dict[str, Any]:
    """Make pictures, screen them, and put the folder in place in one step.

    Args:
        params: section `synthesize`.
        scorer: the probe.
        paths: what is read and written.
        render: of the engine `render`, on this machine or elsewhere (`tasks.scale.synthesize.rendering_on`).

    Returns:
        Counts, as written to the report.

    Raises:
        DataError: the data is missing or the engine cannot run.
        HubError: weights cannot be had.
    """
    paths = paths or SynthesisPaths()
    train = split_file(paths.pulled, "train")
    if not train.is_file():
        raise DataError(f"{train}: no such file; `dvc repro pull_data` writes it")
    pictures, facts = _make(params, train, paths.work, render)
    work = facts.pop("work")
    screened = screen(pictures, paths.pulled, scorer, params)
    counts = {"engine": params.engine, **_counts(screened), "left_out": facts.pop("left_out", {})}
    with new_folder(paths.folder) as partial:
        _write_parquet(partial / "accepted.parquet", screened.accepted)
        _write_parquet(partial / "review.parquet", screened.review, screened.probability)
        draw_sheet(screened, partial / "sheet.jpg", params.seed)
        files = {path.name: sha256_file(path) for path in sorted(partial.iterdir())}
        write_json(partial / "manifest.json", {"files": files, "counts": counts, "engine": facts})
    write_metrics(paths.report, counts, HEADLINE)
    clear_others(paths.work, work)
    return counts


def _make(
    params: SynthesizeParams, train: Path, work: Path, run: Render
) -> tuple[list[SyntheticImage], dict[str, Any]]:
    if params.engine == "render":
        from tasks.synthesis import render

        return render.make(params, work, run=run)
    from tasks.synthesis import sdxl

    return sdxl.make(params, train, work)


def _counts(screened: ScreenedImages) -> dict[str, Any]:
    groups = {"accepted": screened.accepted, "review": screened.review, "near_duplicates": screened.duplicates}
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
        records = [{**one, "probability": round(p, DECIMALS)} for one, p in zip(records, probability, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records, schema=schema), buffer, compression="zstd", row_group_size=64)
    write_bytes(path, buffer.getvalue())
