"""Step `quantize`: the VLM in 4 bits (AWQ), compared with its source before it takes its source's place.

`python -m tasks.quantize` reads models/vlm and writes models/vlm_awq, a VLM's folder like the first one, which
the runtime loads in the same way. Outside of quantize.limits the step fails: the report says why, and the checkpoint
that was there stays. Seconds and memory, which no two runs share, go to reports/quantize/costs.json beside it.
With `quantize.scales: shipped` the scales are those of models/shipped/vlm_awq, where `--ship` puts what it searched.
"""

from __future__ import annotations

import argparse
import sys

from cascade.vlm.base import VlmError
from tasks.awq.backend import QuantizeError
from tasks.awq.quantize import quantize, recheck, ship
from tasks.common.step import step_main
from tasks.config import Params


def _flags(parser: argparse.ArgumentParser) -> None:
    text = "only compare the checkpoint that is there with its source"
    parser.add_argument("--check", action="store_true", help=text)
    parser.add_argument("--ship", action="store_true", help="search scales and keep them in models/shipped/vlm_awq")


def _run(params: Params, options: argparse.Namespace) -> object:
    return (ship if options.ship else recheck if options.check else quantize)(params)


main = step_main("quantize", _run, __doc__, flags=_flags, errors=(QuantizeError, VlmError))

if __name__ == "__main__":
    sys.exit(main())
