"""Step `train`: a head on frozen features, its calibration, and the exits of stage 1.

`python -m tasks.train` reads data/features and writes models/head and reports/train. The training looks at the training
split alone; the calibration split fits scaling, cut and exits, and gives the numbers in the report, which are therefore
a little kinder than those of the challenge set.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.classifier.embedding import PULLED
from tasks.classifier.keep_logits import keep_logits
from tasks.classifier.leave_one_out import leave_one_out
from tasks.classifier.lora.paths import AdaptPaths
from tasks.classifier.train import train_to_files
from tasks.classifier.weights import ADAPTED
from tasks.common.files import new_folder
from tasks.common.step import step_main
from tasks.data.feature_store import FEATURES, MORE_FEATURES
from tasks.training.balance import Balance

if TYPE_CHECKING:
    from tasks.config import Params, TrainParams

HEAD, REPORTS = Path("models/head"), Path("reports/train")
SHIPPING = Path("var/adapter_head")  # a head that goes to models/shipped/adapter


def train(
    params: TrainParams,
    features: Path = FEATURES,
    folder: Path = HEAD,
    reports: Path = REPORTS,
    *,
    prior: float | None,
    more: Path | None = None,
    adapted: Path = ADAPTED,
    balance: Balance | None = None,
) -> dict[str, Any]:
    """Fit head, calibration and exits; write head.safetensors, head.json, metrics.json and plots.

    Args:
        params: section `train`.
        features: of the pulled splits.
        folder: where the head goes.
        reports: where metrics and plots go.
        prior: share of roadwork that loss, calibration, exits and figures are for; None for the data's own.
        more: features of further training pictures, synthesized and mined.
        adapted: where `train.start: adapted` finds a head to begin with.
        balance: how much each picture counts in the loss; None for the prior alone.

    Returns:
        The metrics.

    Raises:
        DataError: see `tasks.classifier.train.train_to_files`.
    """
    return train_to_files(params, features, folder, reports, prior=prior, more=more, adapted=adapted, balance=balance)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--leave-one-out",
        action="store_true",
        help="only train once without each further source, and print what it is worth",
    )
    parser.add_argument(
        "--keep-logits",
        action="store_true",
        help="only write what the head of models/adapted answers the further sources of the calibration split, beside"
        " the same head in models/shipped/adapter",
    )
    parser.add_argument(
        "--ship",
        action="store_true",
        help="only train on the pulled splits, and put the head in place of that of models/shipped/adapter",
    )
    parser.add_argument(
        "--heads", type=_at_least_one, default=1, help="with --ship: so many side by side, each with a seed of its own"
    )
    parser.add_argument(
        "--start-share", type=float, default=0.0, help="with --ship: share in the logit of the head at the start"
    )
    parser.add_argument(
        "--cross-fitted",
        type=Path,
        metavar="FILE",
        help="with --ship: the kept logits of a head that was trained in the same way without the pictures they are of",
    )


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return number


def _run(params: Params, options: argparse.Namespace) -> dict[str, Any]:
    balance = Balance.of_params(params)
    if options.leave_one_out:
        return leave_one_out(params.train, balance, FEATURES, REPORTS, more=MORE_FEATURES)
    if options.keep_logits:
        return keep_logits(params, PULLED, ADAPTED, AdaptPaths().shipped)
    if options.ship:
        return _ship(params, options, balance)
    return train(params.train, prior=params.prior, more=MORE_FEATURES, balance=balance)


def _ship(params: Params, options: argparse.Namespace, balance: Balance) -> dict[str, Any]:
    from tasks.classifier.adapter_head import ship_adapter_head, train_adapter_head, training_record
    from tasks.classifier.head import save_head

    given = {"heads": options.heads, "start_share": options.start_share}
    record = training_record(params.train, FEATURES, balance, **given)
    head, scores = train_adapter_head(params.train, FEATURES, balance, ADAPTED, **given)
    with new_folder(SHIPPING) as folder:
        save_head(head, folder)
    ship_adapter_head(SHIPPING, ADAPTED, AdaptPaths().shipped, record, cross_fitted=options.cross_fitted)
    return scores


main = step_main("train", _run, __doc__, flags=_flags)

if __name__ == "__main__":
    sys.exit(main())
