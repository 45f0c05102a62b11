"""Step `synthesize`: pictures made to order, by rendering or by diffusion, screened before they may train.

`python -m tasks.synthesize` reads data/pulled, models/adapted and models/probe, and writes data/synthetic:
accepted.parquet goes into training, review.parquet to a person, sheet.jpg shows both. docs/synthesis.md says more.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tasks.common.step import step_main
from tasks.config import Params
from tasks.data.schema import DataError
from tasks.scale.synthesize import rendering_on
from tasks.synthesis.overrides import add_options, given_options, with_changes
from tasks.synthesis.renderer import MODULES
from tasks.synthesis.synthesize import synthesize

BACKBONE, PROBE = Path("models/adapted"), Path("models/probe")


def _run(params: Params, options: argparse.Namespace) -> dict[str, Any]:
    given = with_changes(params.synthesize, given_options(options))
    for path in (BACKBONE / "manifest.json", PROBE / "head.json"):
        if not path.is_file():
            raise DataError(f"{path}: no such file; `dvc repro probe` writes it")
    from tasks.classifier.scorer import Scorer

    return synthesize(given, Scorer(BACKBONE, PROBE), render=rendering_on(params.scale))


main = step_main("synthesize", _run, __doc__, flags=add_options, scripts=MODULES)

if __name__ == "__main__":
    sys.exit(main())
