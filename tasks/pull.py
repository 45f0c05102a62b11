"""Step `pull`: `python -m tasks.pull weights` and `python -m tasks.pull data`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from tasks.common.files import read_json
from tasks.common.step import step_main

if TYPE_CHECKING:
    from tasks.config import Params


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["weights", "data"])


def _run(params: Params, options: argparse.Namespace) -> Any:
    if options.what == "weights":
        from tasks.classifier.weights import pull_weights

        pull_weights(params.pull.backbone)
        return None
    from tasks.data.pull import PULLED, QUARANTINE, REPORT, pull_data

    counts = pull_data(params.pull)
    if counts["quarantined"]:
        reasons = ", ".join(f"{reason} {count}" for reason, count in counts["reasons"].items())
        listed = PULLED / QUARANTINE
        print(f"pull data: {counts['quarantined']} rows left out ({reasons}), listed in {listed}", file=sys.stderr)
    for finding in read_json(REPORT.parent / "doctor.json")["findings"]:
        print(f"pull data: {finding['level']}: {finding['message']}", file=sys.stderr)
    return counts


main = step_main("pull", _run, __doc__, flags=_flags)

if __name__ == "__main__":
    sys.exit(main())
