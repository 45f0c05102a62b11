"""Compare the stages of the cascade, decide which a release switches on, and write settings, report and plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.release.manifest import CascadeSettings, StageEntry
from cascade.release.store import CASCADE
from tasks.common.files import new_folder, read_json, write_bytes, write_json
from tasks.common.metrics import write_metrics
from tasks.config import Params
from tasks.data.schema import DataError, split_file
from tasks.selection.page import TITLE, table_page
from tasks.selection.plots import draw_selection
from tasks.selection.report import SelectionReport, make_report, why
from tasks.selection.select import StageSelection, select
from tasks.selection.stage_predictions import StagePredictions, stage_predictions
from tasks.selection.stage_value import Bootstrap
from tasks.selection.stages import SOURCES, available_stages, base_settings
from tasks.selection.views import stage_views

MODELS, PULLED, OUT = Path("models"), Path("data/pulled"), Path("models/cascade")
HEADLINE = ("cascade.mcc", "cascade.reward", "mcc_over_best_single")
REPORTS, STORE = Path("reports/select_stages"), Path("var/stage_predictions")


@dataclass(frozen=True)
class SelectionPaths:
    """Folders that are read and written.

    Attributes:
        models: of all stages.
        pulled: data.
        reports: gets metrics.json, stages.json, stages.md and plots.
        out: gets cascade.json, and sources.json, the folder of each stage.
        store: private cache of stage predictions.
    """

    models: Path = MODELS
    pulled: Path = PULLED
    reports: Path = REPORTS
    out: Path = OUT
    store: Path = STORE


def compare_stages(params: Params, paths: SelectionPaths | None = None) -> dict[str, Any]:
    """Measure all stages that are there, decide which to switch on, and write settings, metrics, table and plots.

    Returns:
        The metrics, as written.

    Raises:
        DataError: a split is missing or lacks a class.
        ValueError: a stage's files are unusable; says which.
    """
    paths = paths or SelectionPaths()
    stages = available_stages(paths.models, params.ocr, quantized=params.quantize.serve)
    settings = base_settings(params.crops, params.ocr)
    calibration, challenge = (
        _predictions(split, stages, settings, params, paths) for split in ("calibration", "challenge")
    )
    selected = select(calibration, params.select_stages, prior=params.prior)
    given = params.select_stages
    drawn = Bootstrap(given.resamples, given.seed, params.validate_.confidence)
    report = make_report(challenge, selected, drawn, prior=params.prior)
    _write_reports(report, paths.reports)
    _write_settings(settings, selected, stages, paths.out)
    return report.metrics


def _predictions(
    split: str, stages: Mapping[str, Path], settings: CascadeSettings, params: Params, paths: SelectionPaths
) -> StagePredictions:
    path = split_file(paths.pulled, split)
    if not path.is_file():
        raise DataError(f"{path}: no such file; `dvc repro pull_data` writes it")
    given, size = params.select_stages, int(read_json(stages["classifier"] / "classifier.json")["size"])
    views = stage_views(path, images=given.images, views=given.views, seed=params.validate_.seed, size=size)
    # the selection on the calibration split starts with the classifier, so that no view which it decides goes on
    decided = None if split == "calibration" else given.sure_images
    return stage_predictions(views, stages, settings, paths.store, decided_views=decided)


def _write_reports(report: SelectionReport, folder: Path) -> None:
    draw_selection(report, folder / "plots")
    write_metrics(folder / "metrics.json", report.metrics, HEADLINE)
    write_json(folder / "stages.json", report.table)
    write_bytes(folder / "stages.md", f"{TITLE}\n\n{table_page(report.table)}\n".encode())


def _write_settings(
    settings: CascadeSettings, selected: StageSelection, stages: Mapping[str, Path], folder: Path
) -> None:
    entries = [StageEntry(name=name, on=name in selected.on, why=why(selected.added.get(name))) for name in stages]
    chosen = settings.model_copy(update={"stages": tuple(entries), "rule": selected.rule})
    with new_folder(folder) as partial:
        write_json(partial / CASCADE, chosen.model_dump(mode="json"))
        # a release ships the folders that were measured
        write_json(partial / SOURCES, {name: path.name for name, path in stages.items()})
