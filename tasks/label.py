"""Step `label`: `python -m tasks.label` turns mined batches and their reviews into data/labelled.

Only what a person has accepted gets in. `--truth data/pulled/pool.parquet` writes data/reviews/pool.csv from a labelled
file instead: in the sample the renderer, which knows what it has drawn, takes the reviewer's place.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tasks.common.step import step_main
from tasks.config import Params
from tasks.data.labelled import TRUTH, write_labelled, write_truth
from tasks.data.reviews import REVIEWS


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--truth", type=Path, metavar="PARQUET", help="write data/reviews/pool.csv from its labels")


def _run(params: Params, options: argparse.Namespace) -> object:
    if options.truth is None:
        return write_labelled()
    return f"{REVIEWS / TRUTH}.csv: {write_truth(options.truth)} reviews"


main = step_main("label", _run, __doc__, flags=_flags)

if __name__ == "__main__":
    sys.exit(main())
