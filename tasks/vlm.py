"""Step `vlm`: the model folder of the VLM, its scaling, and its scores on its own.

`python -m tasks.vlm` writes models/vlm. In the profile `sample` that is a LLaVA put together from wheels and the
shipped projector, and its answers to a few calibration pictures are checked. With another model it fetches the pinned
snapshot and fits the scaling on the calibration split. `--train` trains the projector anew and writes
models/shipped/vlm with its scores on the challenge set; that is no part of the pipeline, since it takes an hour.
"""

from __future__ import annotations

import argparse
import sys

from cascade.vlm.base import VlmError
from tasks.common.step import step_main
from tasks.config import Params
from tasks.llava.build import build_vlm
from tasks.llava.ship import train_and_ship


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train", action="store_true", help="train the shipped projector anew")


def _run(params: Params, options: argparse.Namespace) -> object:
    if options.train:
        return train_and_ship(params.vlm, prior=params.prior)
    return build_vlm(params.vlm, prior=params.prior)


main = step_main("vlm", _run, __doc__, flags=_flags, errors=(VlmError,))

if __name__ == "__main__":
    sys.exit(main())
