"""Step `detect`: two detectors of roadwork objects, and the rule by which they agree.

`python -m tasks.detect` reads data/pulled and writes models/detectors: each detector as ONNX with its contract, and
detectors.json with the rule and the probability fitted on the calibration split. With `detect.mode: shipped` the
weights are those of models/shipped/detectors; with `train` they are trained here, checkpoints in var/detect, and a run
that was stopped goes on where it was. `--ship` puts trained weights into models/shipped/detectors, `--on challenge`
only measures models/detectors on another split, at all four levels.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.detection.boxes import letterbox
from cascade.stages.detectors import SETTINGS_FILE, DetectorsSettings, read_detectors
from tasks.common.files import new_folder, write_json
from tasks.config import ConfigError, DetectParams, ExportParams, load_params
from tasks.data.schema import SPLITS, split_file
from tasks.detection.choose_precision import choose_precision
from tasks.detection.draw import draw_sheet
from tasks.detection.export import MAX_BATCH, check_parity, write_detector
from tasks.detection.fit import fit_estimate, fit_rule, measure
from tasks.detection.inference import detect_views, open_pair, views_with_truth
from tasks.detection.paths import DetectPaths
from tasks.training.pictures import AnnotatedImage, read_annotated_images

NAMES = ("yolo", "detr")
PARITY = 8
ALL_LEVELS = 4


def detect(
    params: DetectParams, places: DetectPaths | None = None, *, tensorrt: ExportParams | None = None, ship: bool = False
) -> dict[str, Any]:
    """Write models/detectors, metrics.json and plots.

    Args:
        params: section `detect`.
        places: folders.
        tensorrt: section `export`, whose precision and limits TensorRT engines get; needed for `engine: tensorrt`.
        ship: write the weights that were trained into `places.shipped` as well.

    Returns:
        The metrics: mAP50 and mAP50-95 a detector and class, the stage alone, and parity, on the calibration split.

    Raises:
        DataError: pictures, boxes or weights are missing or wrong.
        tasks.detection.export.DetectorParityError: an engine sees other boxes than torch.
        EngineError, BuildError, HalfError, InspectError, VerificationError: see `tasks.optimize.verify.export_engine`.
        TypeError: `engine: tensorrt` without the argument `tensorrt`.
    """
    if params.engine == "tensorrt" and tensorrt is None:
        raise TypeError("detect.engine is tensorrt, whose precision and limits stand in section export: pass tensorrt=")
    places = places or DetectPaths()
    calibration = read_annotated_images([split_file(places.pulled, "calibration")])
    with new_folder(places.detectors) as partial:
        metrics = {name: _one(name, params, places, calibration, partial / name, tensorrt, ship=ship) for name in NAMES}
        looks = detect_views(
            calibration, open_pair(partial, NAMES, params.engine, params.threads), views=params.views, seed=params.seed
        )
        rule = fit_rule(looks, params.agreement)
        estimate = fit_estimate(looks, rule, params.seed)
        settings = DetectorsSettings(
            detectors=NAMES, rule=rule, estimate=estimate, engine=params.engine, threads=params.threads
        )
        write_json(partial / SETTINGS_FILE, settings.model_dump(mode="json"))
    report = {"split": "calibration", "model": metrics, **measure(looks, NAMES, rule, estimate)}
    draw_sheet(calibration, looks, rule, NAMES, places.reports / "plots" / "boxes.jpg", seed=params.seed)
    write_json(places.reports / "metrics.json", report)
    return report


def _one(
    name: str,
    params: DetectParams,
    places: DetectPaths,
    calibration: Sequence[AnnotatedImage],
    folder: Path,
    tensorrt: ExportParams | None,
    *,
    ship: bool,
) -> dict[str, Any]:
    """Build, fill and export one detector; gives its size and parity."""
    import torch

    from tasks.detection.training import train_detector
    from tasks.detection.weights import build, read_weights

    torch.set_num_threads(params.threads)
    detector = build(name, params, places.backbone)
    if params.mode == "train":
        train_detector(name, detector, params, places, ship=ship)
    else:
        read_weights(detector, places.shipped / name)
    detector.eval()
    write_detector(detector, name, folder)
    squares = _squares(calibration, detector.size, params.seed)
    limits = {"max_corner": params.max_corner_gap, "max_score": params.max_score_gap}
    parity = check_parity(detector, folder, squares, threads=params.threads, **limits)
    built = _build(detector, folder, params, tensorrt, squares)
    settled = choose_precision(name, folder, calibration, params)
    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    found = {"megabytes": round(megabytes, 2), "size": detector.size, "parity": parity, **built}
    return {**found, "precision": settled} if settled else found


def _build(
    detector: Any, folder: Path, params: DetectParams, tensorrt: ExportParams | None, squares: NDArray[np.uint8]
) -> dict[str, Any]:
    """The TensorRT engine beside detector.onnx, where it is asked for; gives what it proved."""
    if params.engine != "tensorrt" or tensorrt is None:
        return {}
    from tasks.optimize.tensorrt_engines import compile_detector

    report = compile_detector(
        detector,
        folder,
        tensorrt,
        squares,
        max_batch=MAX_BATCH,
        max_corner=params.max_corner_gap,
        max_score=params.max_score_gap,
    )
    return {"tensorrt": {name: report[name] for name in ("half_layers", "parity")}}


def measure_on(split: str, params: DetectParams, places: DetectPaths | None = None) -> dict[str, Any]:
    """Measure models/detectors on another split, without fitting or writing anything."""
    places = places or DetectPaths()
    settings = read_detectors(places.detectors)
    engines = open_pair(places.detectors, settings.detectors, settings.engine, settings.threads)
    pictures = read_annotated_images([split_file(places.pulled, split)])
    looks = detect_views(pictures, engines, views=ALL_LEVELS, seed=params.seed)
    return {"split": split, **measure(looks, settings.detectors, settings.rule, settings.estimate)}


def _squares(pictures: Sequence[AnnotatedImage], size: int, seed: int) -> NDArray[np.uint8]:
    """A few views to compare engines on, roadwork first: empty streets have no boxes to compare."""
    chosen = sorted(pictures, key=lambda picture: (-picture.label, picture.key))[:PARITY]
    return np.stack([letterbox(views_with_truth(picture, 1, seed)[-1][0], size)[0] for picture in chosen])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tasks.detect", description=__doc__)
    parser.add_argument("--ship", action="store_true", help="keep trained weights in models/shipped/detectors")
    parser.add_argument("--on", choices=SPLITS, help="only measure models/detectors on this split and print it")
    given = parser.parse_args(arguments)
    try:
        params = load_params()
        report = (
            measure_on(given.on, params.detect)
            if given.on
            else detect(params.detect, tensorrt=params.export, ship=given.ship)
        )
        print(json.dumps(report, indent=1))
    except (ConfigError, ValueError, OSError) as error:
        print(f"detect: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
