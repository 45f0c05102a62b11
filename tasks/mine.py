"""Step `mine`: from many unlabelled pictures to the few to label.

`python -m tasks.mine` mines the pool split, writes data/mined and keeps the FiftyOne dataset up to date, which people
open to review. The daily flow does the same with inbox, folders and clips (`python -m flows.mine_daily`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tasks.common.metrics import write_metrics
from tasks.common.step import step_main
from tasks.config import Params
from tasks.data.batches import MINED
from tasks.data.pull import PULLED
from tasks.data.schema import split_file
from tasks.mining.database import DatabaseDown
from tasks.mining.mine import MiningInputs, mine
from tasks.mining.sources import gather
from tasks.scale.mine import mining_on
from tasks.stores.addresses import mongodb_uri

REPORT, PLOT = Path("reports/mine/metrics.json"), Path("reports/mine/plots/embedding.png")
HEADLINE = ("candidates", "chosen")


def _run(params: Params, options: argparse.Namespace) -> dict[str, Any]:
    own = params.mine
    candidates = gather(pool=split_file(PULLED, "pool"), max_pixels=own.max_pixels, min_side=own.min_side)
    inputs = MiningInputs(mongodb=mongodb_uri(params.stores))
    counts = mine(own, candidates, batch=MINED, date="", inputs=inputs, plot=PLOT, engine=mining_on(params.scale))
    write_metrics(REPORT, counts, HEADLINE)
    return counts


main = step_main("mine", _run, __doc__, errors=(DatabaseDown,))

if __name__ == "__main__":
    sys.exit(main())
