"""How right the champion's answers were, once people have labelled the pictures: reviews joined with answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade.inbox.store import CONTROL, HARD, InboxError, entries
from cascade.metrics.series import Series
from cascade.probability import CUT
from tasks.data.batches import MANIFEST
from tasks.data.reviews import read_reviews
from tasks.monitoring import series
from tasks.monitoring.textfile import Samples

# the validators' windows: MCC over the newest 100, accuracy over the newest 10
MCC_WINDOW, ACCURACY_WINDOW = 100, 10


@dataclass(frozen=True)
class Answered:
    """A picture that was answered and later labelled."""

    when: float
    sha256: str
    probability: float
    label: int


def answered(inbox: Path, hard_cases: Path, reviews: Path, release: str) -> Mapping[str, Sequence[Answered]]:
    """Give the labelled pictures by share, oldest first.

    `control` is the random slice of this release: its figures hold for the traffic. `hard` is what mining chose from
    the inbox: its figures are low by choice, and tell whether a release gets better on what was difficult.

    Args:
        inbox: of the service.
        hard_cases: daily batches; their manifests say what the service had answered.
        reviews: by people.
        release: id of the champion, whose answers count in `control`.

    Raises:
        DataError: a review is damaged.
    """
    labels = {digest: one.label for digest, one in read_reviews(reviews).items() if one.label is not None}
    control = []
    for entry in entries(inbox):
        label = labels.get(entry.sha256)
        if entry.share != CONTROL or label is None:
            continue
        try:
            trace, when = entry.trace(), entry.path.stat().st_mtime
        except (FileNotFoundError, InboxError):
            continue
        if trace.get("release") == release and isinstance(trace.get("probability"), float):
            control.append(Answered(when, entry.sha256, trace["probability"], label))
    return {CONTROL: sorted(control, key=lambda one: (one.when, one.sha256)), HARD: _hard(hard_cases, labels)}


def _hard(hard_cases: Path, labels: Mapping[str, int]) -> list[Answered]:
    """Pictures of the batches with what the service answered; those of folders and clips were never answered."""
    from tasks.common.files import read_json

    found = []
    for day, file in enumerate(sorted(hard_cases.glob(f"*/{MANIFEST}"))):
        for digest, facts in sorted(read_json(file)["pictures"].items()):
            served = facts.get("served_probability")
            if digest in labels and isinstance(served, float) and facts.get("reason") != CONTROL:
                found.append(Answered(day, digest, served, labels[digest]))
    return found


def figures(shares: Mapping[str, Sequence[Answered]], least: int) -> Samples:
    """Accuracy, MCC and the subnet's reward of each share; below `least` pictures there is only their number."""
    found: dict[Series, dict[tuple[str, ...], float]] = {
        one: {} for one in (series.LABELLED, series.ACCURACY, series.MCC, series.REWARD)
    }
    for share, pictures in shares.items():
        found[series.LABELLED][(share,)] = len(pictures)
        if len(pictures) >= least:
            for name, value in scores(pictures).items():
                found[name][(share,)] = value
    return found


def scores(pictures: Sequence[Answered]) -> dict[Series, float]:
    """Accuracy and MCC of all pictures, and the reward of the newest ones as a validator computes it."""
    from cascade.evaluate.scores import accuracy, mcc, reward

    label = [one.label for one in pictures]
    said = [int(one.probability > CUT) for one in pictures]
    newest = mcc(label[-MCC_WINDOW:], said[-MCC_WINDOW:])
    paid = reward(newest, accuracy(label[-ACCURACY_WINDOW:], said[-ACCURACY_WINDOW:]))
    return {series.ACCURACY: accuracy(label, said), series.MCC: mcc(label, said), series.REWARD: paid}
