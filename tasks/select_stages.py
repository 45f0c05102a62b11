"""Step `select_stages`: which stages of the cascade a release switches on, and what each of them adds.

`python -m tasks.select_stages` reads models/* and data/pulled, decides on the calibration split, reports on the
challenge set, and writes models/cascade/cascade.json and reports/select_stages. `--doc docs/cascade.md` writes the
table of the last run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.release.manifest import CascadeSettings, CropSettings, FusionRule, StageEntry
from cascade.release.store import CASCADE
from tasks.common.files import new_folder, read_json, write_bytes, write_json
from tasks.config import ConfigError, CropParams, OcrParams, Params, SelectStagesParams, load_params
from tasks.data.schema import DataError, split_file
from tasks.selection.page import table_page, write_doc
from tasks.selection.plots import draw_selection
from tasks.selection.replay import (
    ReplayResult,
    cost,
    everything_ms,
    figures,
    flips,
    leaving,
    replay,
    select,
    subset_runs,
    without,
)
from tasks.selection.stage_predictions import StagePredictions, StageView, record, stage_views

MODELS, PULLED, REPORTS, OUT = (
    Path("models"),
    Path("data/pulled"),
    Path("reports/select_stages"),
    Path("models/cascade"),
)
STORE = Path("var/stage_predictions")
SOURCES, QUANTIZED = "sources.json", "vlm_awq"
ORDER = ("classifier", "detectors", "vlm", "ocr")
SPLITS = ("calibration", "challenge")


@dataclass(frozen=True)
class SelectionPaths:
    """Where things lie."""

    models: Path = MODELS
    pulled: Path = PULLED
    reports: Path = REPORTS
    out: Path = OUT
    store: Path = STORE


def select_stages(params: Params, places: SelectionPaths | None = None) -> dict[str, Any]:
    """Measure all stages that are there, decide which to switch on, and write settings, metrics, table and plots.

    Raises:
        DataError: a split is missing or lacks a class.
        ValueError: a stage's files are unusable; says which.
    """
    at = places or SelectionPaths()
    stages = available(at.models, params.ocr, quantized=params.quantize.serve)
    settings = base_settings(params.crops, params.ocr)
    seed, confidence = params.validate_.seed, params.validate_.confidence
    said = {split: _record(split, stages, settings, params.select_stages, seed, at) for split in SPLITS}
    kept, judged, rule = select(
        said["calibration"],
        list(stages),
        params.select_stages.min_net,
        params.select_stages.min_gain,
        params.select_stages.confidence,
    )
    entries = tuple(StageEntry(name=name, on=name in kept, why=_why(judged.get(name))) for name in stages)
    chosen = settings.model_copy(update={"stages": entries, "rule": rule})
    metrics, table = _report(said["challenge"], list(stages), kept, judged, chosen, confidence)
    draw_selection(table["curves"], at.reports / "plots")
    write_json(at.reports / "metrics.json", metrics)
    write_json(at.reports / "stages.json", {key: value for key, value in table.items() if key != "curves"})
    write_bytes(at.reports / "stages.md", f"# What each stage is worth\n\n{table_page(table)}\n".encode())
    with new_folder(at.out) as partial:
        write_json(partial / CASCADE, chosen.model_dump(mode="json"))
        # a release ships what was measured
        write_json(partial / SOURCES, {name: folder.name for name, folder in stages.items()})
    return metrics


def available(models: Path, text: OcrParams, *, quantized: bool = False) -> dict[str, Path]:
    """Give the stages whose files are there, in the cascade's order; text reading may need none.

    Args:
        models: folder of them all.
        text: section `text`.
        quantized: whether the 4-bit VLM stands for its source.
    """
    there = {name: models / name for name in ORDER if (models / name).is_dir()}
    if quantized and "vlm" in there:
        there["vlm"] = models / QUANTIZED
    if "classifier" not in there:
        raise DataError(f"{models / 'classifier'}: no such folder; `dvc repro export` writes it")
    if text.backend == "off":
        there.pop("ocr", None)
    elif text.backend == "rapidocr":
        there["ocr"] = models / "ocr"
    elif "ocr" not in there:
        raise DataError(f"{models / 'ocr'}: no such folder; `streetvision download` fetches {text.backend}")
    return {name: there[name] for name in ORDER if name in there}


def base_settings(crops: CropParams, ocr: OcrParams) -> CascadeSettings:
    """What a release's settings take over from params.yaml."""
    return CascadeSettings(
        crops=CropSettings(count=crops.count, pool=crops.pool),
        ocr=ocr.model_dump(mode="json", exclude={"model", "repo", "revision"}),
    )


def _record(
    split: str,
    stages: Mapping[str, Path],
    settings: CascadeSettings,
    params: SelectStagesParams,
    seed: int,
    at: SelectionPaths,
) -> StagePredictions:
    path = split_file(at.pulled, split)
    if not path.is_file():
        raise DataError(f"{path}: no such file; `dvc repro pull_data` writes it")
    size = int(read_json(stages["classifier"] / "classifier.json")["size"])
    chosen: list[StageView] = stage_views(path, images=params.images, views=params.views, seed=seed, size=size)
    return record(chosen, stages, settings, at.store, params.sure_images)


def _why(flipped: dict[str, Any] | None) -> str:
    if flipped is None:
        return ""
    gained, lost = flipped["wrong_to_right"], flipped["right_to_wrong"]
    before, after = flipped["log_loss"]
    return (
        f"net value {flipped['net']:+d} on the calibration split: {gained} answers put right, {lost} spoilt; "
        f"log loss {before:.4f} without it, {after:.4f} with it (at least {flipped['gain_low']:+.4f} lower)"
    )


def _report(
    records: StagePredictions,
    stages: list[str],
    kept: list[str],
    judged: Mapping[str, dict[str, Any]],
    settings: CascadeSettings,
    confidence: float,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics without timings, so that they repeat; and the table with them."""
    rule = settings.rule
    whole, everyone = replay(records, kept, rule), replay(records, stages, rule)
    left = dict(leaving(whole, confidence))
    rows = {name: _row(records, name, kept, rule, whole) for name in stages}
    for name, row in rows.items():
        row |= {"flips_calibration": judged.get(name), "leaving": left.get(name)}
    best = max(stages, key=lambda name: rows[name]["alone"]["mcc"])
    metrics = {
        "images": len(records.label),
        "cascade": figures(whole) | {"undecided": round(float((whole.by < 0).mean()), 6)},
        "every_stage_on": figures(everyone),
        "best_single": {"stage": best, "mcc": rows[best]["alone"]["mcc"]},
        "mcc_over_best_single": round(figures(whole)["mcc"] - rows[best]["alone"]["mcc"], 6),
        "rule": rule.weights,
        "stage": rows,
    }
    full = everything_ms(records, stages)
    costs = {"cascade": cost(whole), "every_stage_on_every_image_ms": round(full, 2)}
    costs["share_of_full_cost"] = round(costs["cascade"]["mean_ms"] / max(full, 1e-9), 4)  # type: ignore[index]
    costs |= {f"alone: {name}": cost(replay(records, [name], rule)) for name in stages}
    costs |= {f"without: {name}": cost(without(records, kept, name, rule)) for name in kept if len(kept) > 1}
    return metrics, {"metrics": metrics, "cost": costs, "curves": _curves(records, stages, kept, settings)}


def _row(
    records: StagePredictions, name: str, kept: list[str], rule: FusionRule, whole: ReplayResult
) -> dict[str, Any]:
    # what is left of a cascade of one stage without it is nothing
    less = without(records, kept, name, rule) if name in kept and len(kept) > 1 else None
    return {
        "on": name in kept,
        "alone": figures(replay(records, [name], rule)),
        "without": figures(less) if less else None,
        "flips": flips(less, whole) if less else None,
        "opinions": _opinions(records, name),
    }


def _curves(
    records: StagePredictions, stages: Sequence[str], kept: list[str], settings: CascadeSettings
) -> dict[str, Any]:
    runs = subset_runs(records, stages, settings.rule)
    return {"runs": runs, "chosen": tuple(kept), "alone": [(name,) for name in stages]}


def _opinions(records: StagePredictions, name: str) -> float:
    """Share of images on which a stage gives a probability at all."""
    asked = [seen for seen in records.alone[name] if seen is not None]
    return round(sum(seen.probability is not None for seen in asked) / len(asked), 6)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tasks.select_stages", description=__doc__)
    parser.add_argument("--doc", type=Path, help="write the last run's table there instead of measuring")
    given = parser.parse_args(arguments)
    try:
        if given.doc:
            write_doc(read_json(REPORTS / "stages.json"), given.doc)
            return 0
        metrics = select_stages(load_params())
    except (ConfigError, OSError, ValueError) as error:
        print(f"select_stages: {error}", file=sys.stderr)
        return 1
    on = [name for name, row in metrics["stage"].items() if row["on"]]
    print({"mcc": metrics["cascade"]["mcc"], "best_single": metrics["best_single"], "on": on})
    return 0


if __name__ == "__main__":
    sys.exit(main())
