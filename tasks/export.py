"""Step `export`: one ONNX file that takes pixels and gives a calibrated logit, and the engine that runs it best.

`python -m tasks.export` reads models/adapted, models/head and data/pulled and writes models/classifier and
reports/export. Section `export` of params.yaml holds the engine, its precision and the limits; `memory.gpu_gib` says
whether there may be a GPU.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tasks.common.step import step_main
from tasks.config import Params
from tasks.optimize.export import ExportInputs, export

BACKBONE, HEAD, PULLED = Path("models/adapted"), Path("models/head"), Path("data/pulled")
CLASSIFIER, REPORT = Path("models/classifier"), Path("reports/export/metrics.json")


def _run(params: Params, options: argparse.Namespace) -> dict[str, Any]:
    inputs, card = ExportInputs(BACKBONE, HEAD, PULLED), params.memory.gpu_gib > 0
    return export(params.export, inputs, CLASSIFIER, REPORT, prior=params.prior, card=card)


main = step_main("export", _run, __doc__)

if __name__ == "__main__":
    sys.exit(main())
