"""Reviews from the tags that a person sets in the FiftyOne App."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cascade.probability import LABEL_NUMBERS, LABELS
from tasks.data.reviews import DECISIONS, Review
from tasks.data.schema import DataError
from tasks.mining.samples import PREDICTION

# tags that name the label itself
LABEL_TAGS: dict[str, int] = {name: number for number, name in enumerate(LABELS)}
# the field of labels from CVAT or Label Studio
ANSWER = "review"
SHOWN = 10


@dataclass(frozen=True)
class Tagged:
    """One picture of a batch in FiftyOne.

    Attributes:
        tags: all of its tags, of which most are not about reviews.
        proposed: label that the model predicted, 0 or 1; None where there is none.
    """

    sha256: str
    tags: frozenset[str]
    proposed: int | None


def read_tags(view: Any) -> list[Tagged]:
    """The pictures of a FiftyOne view; an answer of an annotation tool counts as a tag."""
    columns = view.values(["sha256", "tags", f"{PREDICTION}.label"])
    answers = view.values(f"{ANSWER}.label") if ANSWER in view.get_field_schema() else [None] * len(columns[0])
    # datasets of before call label 0 none
    return [
        Tagged(digest, frozenset([*(tags or []), *([answer] if answer else [])]), LABEL_NUMBERS.get(label))
        for digest, tags, label, answer in zip(*columns, answers, strict=True)
    ]


def to_review(one: Tagged, reviewer: str, batch: str) -> Review | None:
    """Give the review of a picture; None where it has no tag of ours.

    `reject` stands alone. `accept` and `relabel` take the label of a tag `roadwork` or `clear`; without one, `accept`
    means what the model proposed and `relabel` the other. A tag `roadwork` or `clear` alone is enough.

    Raises:
        ValueError: the tags contradict each other, or there is no proposal that `accept` could mean.
    """
    decisions = sorted(one.tags.intersection(DECISIONS))
    labels = sorted(one.tags.intersection(LABEL_TAGS))
    if len(decisions) > 1 or len(labels) > 1 or ("reject" in decisions and labels):
        raise ValueError(f"{one.sha256}: tagged {', '.join([*decisions, *labels])}; keep one of them")
    if not decisions and not labels:
        return None
    if decisions == ["reject"]:
        return Review(one.sha256, "reject", None, reviewer, batch)
    if labels:
        label = LABEL_TAGS[labels[0]]
        decision = decisions[0] if decisions else ("accept" if label == one.proposed else "relabel")
        return Review(one.sha256, decision, label, reviewer, batch)
    if one.proposed is None:
        raise ValueError(f"{one.sha256}: tagged {decisions[0]}, but no model proposed a label; add roadwork or clear")
    label = one.proposed if decisions == ["accept"] else 1 - one.proposed
    return Review(one.sha256, decisions[0], label, reviewer, batch)


def to_reviews(pictures: Iterable[Tagged], reviewer: str, batch: str) -> dict[str, Review]:
    """Give the reviews of all tagged pictures, by digest.

    Raises:
        DataError: names the pictures whose tags contradict each other.
    """
    reviews: dict[str, Review] = {}
    wrong: list[str] = []
    for one in pictures:
        try:
            review = to_review(one, reviewer, batch)
        except ValueError as error:
            wrong.append(f"  {error}")
            continue
        if review is not None:
            reviews[one.sha256] = review
    if wrong:
        more = [f"  and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise DataError("\n".join([f"batch {batch}: nothing was imported", *wrong[:SHOWN], *more]))
    return reviews


def merged(old: Mapping[str, Review], new: Mapping[str, Review]) -> list[Review]:
    """Old reviews and new ones; of one picture the new one counts.

    A picture without tags keeps its old review: a database that was lost must not take people's work with it. One with
    the same decision keeps its first reviewer.
    """
    kept = {digest: old[digest] for digest in new if digest in old and _same(old[digest], new[digest])}
    return list({**old, **new, **kept}.values())


def _same(first: Review, second: Review) -> bool:
    return (first.decision, first.label) == (second.decision, second.label)
