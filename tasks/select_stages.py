"""Step `select_stages`: which stages of the cascade a release switches on, and what each of them adds.

`python -m tasks.select_stages` reads models/* and data/pulled, decides on the calibration split, reports on the
challenge set, and writes models/cascade/cascade.json and reports/select_stages. `--doc docs/cascade.md` writes the
table of the last run into that page instead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tasks.common.files import read_json
from tasks.common.step import step_main
from tasks.config import Params
from tasks.selection.compare import REPORTS, compare_stages
from tasks.selection.page import write_doc
from tasks.selection.report import stages_on


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--doc", type=Path, help="write the last run's table into this page instead of measuring")


def _run(params: Params, options: argparse.Namespace) -> object:
    if options.doc:
        write_doc(read_json(REPORTS / "stages.json"), options.doc)
        return None
    metrics = compare_stages(params)
    return {
        "mcc": metrics["cascade"]["mcc"],
        "best_single": metrics["best_single"],
        "on": stages_on(metrics),
    }


main = step_main("select_stages", _run, __doc__, flags=_flags)

if __name__ == "__main__":
    sys.exit(main())
