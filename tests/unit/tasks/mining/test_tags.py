"""From tags to reviews: a table of what people do, and what happens to their work."""

from __future__ import annotations

import pytest

from tasks.data.reviews import Review
from tasks.data.schema import DataError
from tasks.mining.tags import Tagged, merged, to_review, to_reviews

A, B = "a" * 64, "b" * 64


def tagged(tags: str, proposed: int | None = 1, digest: str = A) -> Tagged:
    return Tagged(digest, frozenset(["candidate", "batch:day", *tags.split()]), proposed)


@pytest.mark.parametrize(
    ("tags", "proposed"),
    [
        ("accept reject", 1),
        ("accept relabel", 1),
        ("roadwork clear", 1),
        # a picture of no use has no label
        ("reject roadwork", 1),
        # there is nothing to accept
        ("accept", None),
        ("relabel", None),
    ],
)
def test_contradictions_name_the_picture_and_write_nothing(tags: str, proposed: int | None) -> None:
    with pytest.raises(DataError, match=f"batch day: nothing was imported\n  {A}: tagged"):
        to_reviews([tagged("accept", 0, B), tagged(tags, proposed)], "ann", "day")


def test_many_contradictions_are_counted() -> None:
    pictures = [tagged("accept reject", digest=f"{number:064x}") for number in range(15)]
    with pytest.raises(DataError, match="and 5 more"):
        to_reviews(pictures, "ann", "day")


@pytest.mark.parametrize(
    ("tags", "proposed", "expected"),
    [
        # nobody said anything: the picture stays out of training
        ("", 1, None),
        ("interesting", 1, None),
        ("accept", 1, ("accept", 1)),
        ("accept", 0, ("accept", 0)),
        ("relabel", 1, ("relabel", 0)),
        ("relabel", 0, ("relabel", 1)),
        ("reject", 1, ("reject", None)),
        ("reject", None, ("reject", None)),
        # a label says it outright, whatever the model proposed
        ("roadwork", 1, ("accept", 1)),
        ("roadwork", 0, ("relabel", 1)),
        ("clear", None, ("relabel", 0)),
        ("accept clear", 1, ("accept", 0)),
        ("relabel roadwork", 1, ("relabel", 1)),
    ],
)
def test_what_tags_mean(tags: str, proposed: int | None, expected: tuple[str, int | None] | None) -> None:
    review = to_review(tagged(tags, proposed), "ann", "day")
    assert (review and (review.decision, review.label)) == expected
    assert review is None or (review.sha256, review.reviewer, review.batch) == (A, "ann", "day")


def test_a_lost_database_takes_no_reviews_with_it() -> None:
    old = {A: Review(A, "accept", 1, "ann", "day"), B: Review(B, "reject", None, "ann", "day")}
    assert merged(old, {}) == list(old.values())
    # a second review wins; the same decision keeps its first reviewer
    new = {A: Review(A, "relabel", 0, "bob", "day"), B: Review(B, "reject", None, "bob", "day")}
    assert merged(old, new) == [new[A], old[B]]
