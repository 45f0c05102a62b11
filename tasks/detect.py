"""Step `detect`: two detectors of roadwork objects, and the rule by which they agree.

`python -m tasks.detect` reads data/pulled and writes models/detectors: each detector as ONNX with its contract, and
detectors.json with the rule and the probability fitted on the calibration split. With `detect.mode: shipped` the
weights are those of models/shipped/detectors; with `train` they are trained here, checkpoints in var/detect, and a run
that was stopped goes on where it was. `--ship` puts trained weights into models/shipped/detectors, `--on challenge`
only measures models/detectors on another split, at all four levels.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from tasks.common.step import step_main
from tasks.data.schema import SPLITS
from tasks.detection.detect import detect, measure_on

if TYPE_CHECKING:
    from tasks.config import Params


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ship", action="store_true", help="keep trained weights in models/shipped/detectors")
    parser.add_argument("--on", choices=SPLITS, help="only measure models/detectors on this split and print it")


def _run(params: Params, options: argparse.Namespace) -> dict[str, Any]:
    return (
        measure_on(options.on, params.detect, prior=params.prior) if options.on else detect(params, ship=options.ship)
    )


main = step_main("detect", _run, __doc__, flags=_flags)

if __name__ == "__main__":
    sys.exit(main())
