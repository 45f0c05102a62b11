"""Two detectors, the rule by which they agree and the probability of the stage: all that models/detectors holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.stages.detectors import SETTINGS_FILE, DetectorsSettings, read_detectors
from tasks.common.files import new_folder, write_json
from tasks.common.metrics import write_metrics
from tasks.data.annotated_images import read_annotated_images
from tasks.data.schema import split_file
from tasks.data.views import LEVELS
from tasks.detection.assemble import assemble_detector
from tasks.detection.draw import draw_sheet
from tasks.detection.fit import fit_estimate, fit_rule, measure
from tasks.detection.inference import detect_views, open_pair
from tasks.detection.paths import DetectPaths

if TYPE_CHECKING:
    from tasks.config import Params
    from tasks.config.detect import DetectParams

NAMES = ("yolo", "detr")


HEADLINE = ("alone.mcc", "detr.all.map50", "yolo.all.map50")


def detect(params: Params, paths: DetectPaths | None = None, *, ship: bool = False) -> dict[str, Any]:
    """Write models/detectors, metrics.json and plots.

    Args:
        params: sections `detect`, `training` and, for an engine on a GPU, `export`; `memory.gpu_gib`, whether there may
            be one; and the prior, which rule, probability and the stage's figures are for.
        paths: folders.
        ship: write the weights that were trained into `paths.shipped` as well.

    Returns:
        The metrics: mAP50 and mAP50-95 a detector and class, the stage alone, and parity, on the calibration split.

    Raises:
        EngineError: no engine that is asked for can run here.
        DataError, DetectorParityError, and TensorRT's: see `tasks.detection.assemble.assemble_detector`.
    """
    paths, params = paths or DetectPaths(), _with_engine(params)
    own = params.detect
    calibration = read_annotated_images([split_file(paths.pulled, "calibration")])
    with new_folder(paths.detectors) as partial:
        models = {
            name: assemble_detector(name, params, paths, calibration, partial / name, ship=ship) for name in NAMES
        }
        engines = open_pair(partial, NAMES, own.engine, own.threads)
        views = detect_views(calibration, engines, own, own.views)
        rule = fit_rule(views, own.agreement, prior=params.prior)
        estimate = fit_estimate(views, rule, own.agreement, own.seed, prior=params.prior)
        settings = DetectorsSettings(
            detectors=NAMES, rule=rule, estimate=estimate, engine=own.engine, threads=own.threads
        )
        write_json(partial / SETTINGS_FILE, settings.model_dump(mode="json"))
    report = {"split": "calibration", "model": models, **measure(views, NAMES, rule, estimate, prior=params.prior)}
    draw_sheet(calibration, views, rule, NAMES, paths.reports / "plots" / "boxes.jpg", own)
    write_metrics(paths.reports / "metrics.json", report, HEADLINE)
    return report


def _with_engine(params: Params) -> Params:
    """The parameters with an engine of this machine in place of `auto`; one that is named stays, or is refused."""
    from cascade.engines.select import choose_engine

    own = params.detect
    kind = choose_engine(own.engine, "fp32", card=params.memory.gpu_gib > 0, key="detect.engine").kind
    return params.model_copy(update={"detect": own.model_copy(update={"engine": kind})})


def measure_on(
    split: str, params: DetectParams, paths: DetectPaths | None = None, *, prior: float | None
) -> dict[str, Any]:
    """Measure models/detectors on another split at all levels, without fitting or writing anything."""
    paths = paths or DetectPaths()
    settings = read_detectors(paths.detectors)
    engines = open_pair(paths.detectors, settings.detectors, settings.engine, settings.threads)
    pictures = read_annotated_images([split_file(paths.pulled, split)])
    views = detect_views(pictures, engines, params, len(LEVELS))
    return {"split": split, **measure(views, settings.detectors, settings.rule, settings.estimate, prior=prior)}
