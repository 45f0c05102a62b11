"""Step `embed`: features of every picture and its seeded views; only new ones are computed.

`python -m tasks.embed` reads data/pulled and models/adapted and fills data/features; with `--new` it reads what
synthesis and mining add to the training pictures and fills data/features_new. The challenge set is not embedded: it is
measured through the exported engine alone.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from tasks.classifier.embedding import embed, embed_new
from tasks.common.step import step_main
from tasks.scale.embed import features_on

if TYPE_CHECKING:
    from tasks.config import Params


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--new", action="store_true", help="embed what synthesis and mining add, not the pulled data")


def _run(params: Params, options: argparse.Namespace) -> dict[str, Any]:
    return (embed_new if options.new else embed)(params.embed, compute=features_on(params.scale))


main = step_main("embed", _run, __doc__, flags=_flags)

if __name__ == "__main__":
    sys.exit(main())
