"""Step `pull`: `python -m tasks.pull weights` and `python -m tasks.pull data`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

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
    from tasks.data.pull import pull_data

    return pull_data(params.pull)


main = step_main("pull", _run, __doc__, flags=_flags)

if __name__ == "__main__":
    sys.exit(main())
