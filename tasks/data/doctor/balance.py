"""Labels by split, and the scores of the constant answer."""

from __future__ import annotations

from collections.abc import Sequence

from cascade.evaluate.prior import VALIDATORS
from cascade.evaluate.scores import constant_answer
from tasks.data.doctor.findings import Finding, listed, percent
from tasks.data.examine import Facts
from tasks.data.readers.splits import BOTH_CLASSES

# the share of roadwork may lie so far from the validators' one half before figures at the data's own share mislead:
# at 0.6 the constant answer has accuracy 0.6
MAX_DISTANCE = 0.1


def roadwork_share(pictures: Sequence[Facts]) -> float:
    """Share of label 1; 0 of no pictures."""
    return sum(one.label for one in pictures) / max(len(pictures), 1)


def check_balance(pictures: Sequence[Facts]) -> list[Finding]:
    """A label that is missing, and a share of roadwork far from the prior that validators draw with."""
    if not pictures:
        return [Finding("error", "labels", "no picture can be used")]
    share = roadwork_share(pictures)
    if share in (0, 1):
        only = "roadwork" if share else "clear"
        return [Finding("error", "labels", f"all {len(pictures)} pictures are {only}; there is nothing to tell apart")]
    return [*_missing(pictures), *_prior(pictures, share)]


def _missing(pictures: Sequence[Facts]) -> list[Finding]:
    there = {(one.split, one.label) for one in pictures}
    splits = {one.split for one in pictures}
    lacking = [
        f"{split} has no {name} picture"
        for split in BOTH_CLASSES
        for label, name in ((0, "clear"), (1, "roadwork"))
        if splits & set(BOTH_CLASSES) and (split, label) not in there
    ]
    return [Finding("error", "labels", f"{listed(lacking)}; pull refuses that")] if lacking else []


def _prior(pictures: Sequence[Facts], share: float) -> list[Finding]:
    if abs(share - VALIDATORS) <= MAX_DISTANCE:
        return []
    constant = constant_answer(share)
    message = (
        f"{percent(share)} is roadwork, validators draw {percent(VALIDATORS)}: always giving the more frequent label "
        f"has accuracy {constant['accuracy']:.3f} here, MCC 0 and reward {constant['reward']:.3f}; the pipeline and "
        "`streetvision evaluate` weigh their figures to a prior"
    )
    return [Finding("warning", "prior", message)]
