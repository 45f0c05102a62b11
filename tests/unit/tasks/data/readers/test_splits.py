"""Which rows are shared out among splits, and how."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.readers.splits import BOTH_CLASSES, SHARES, is_divided, open_splits, share_out, split_of_place


@pytest.mark.parametrize(
    ("named", "divided", "splits"),
    [
        # nothing is named: all four
        (set(), {""}, ("train", "calibration", "pool", "challenge")),
        # NATIX
        ({"train", "challenge"}, {"", "train"}, ("train", "calibration", "pool")),
        ({"train"}, {"", "train"}, ("train", "calibration", "pool", "challenge")),
        # a set that is complete without a pool stays as it is
        ({"train", "calibration", "challenge"}, {""}, ("train", "pool")),
        (set(SHARES), {""}, ("train",)),
    ],
)
def test_what_is_divided_among_which_splits(named: set[str], divided: set[str], splits: tuple[str, ...]) -> None:
    assert open_splits(named) == splits
    assert {split for split in {"", *named} if is_divided(split, named)} == divided


@given(st.text(min_size=1), st.sets(st.sampled_from(sorted(SHARES)), min_size=1), st.integers(0, 9))
def test_a_place_goes_to_one_of_the_splits(place: str, splits: set[str], seed: int) -> None:
    chosen = split_of_place(place, tuple(splits), seed)
    assert chosen in splits
    assert chosen == split_of_place(place, tuple(splits), seed)


def test_shares_among_three() -> None:
    splits = ("train", "calibration", "pool")
    chosen = [split_of_place(f"street {number}", splits) for number in range(4000)]
    for split in splits:
        assert chosen.count(split) / len(chosen) == pytest.approx(SHARES[split] / 0.85, abs=0.03)


LABELS = st.dictionaries(st.text(min_size=1, max_size=8), st.sets(st.integers(0, 1), min_size=1), max_size=20)


@given(LABELS, st.integers(0, 3))
def test_sharing_out_loses_no_place_and_fills_splits_where_it_can(labels: dict[str, set[int]], seed: int) -> None:
    splits = ("train", "calibration", "pool")
    chosen = share_out(labels, splits, seed)
    assert chosen.keys() == labels.keys()
    if all(sum(label in found for found in labels.values()) >= 4 for label in (0, 1)):
        for split in set(BOTH_CLASSES) & set(splits):
            assert set().union(*(labels[place] for place in labels if chosen[place] == split)) == {0, 1}


def test_large_sets_are_shared_out_by_the_hash_alone() -> None:
    labels = {f"drive {number}": {0, 1} for number in range(200)}
    splits = ("train", "calibration", "pool")
    assert share_out(labels, splits) == {place: split_of_place(place, splits) for place in labels}
