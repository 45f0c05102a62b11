"""Which split a place goes to, where the source leaves it to us: by hash, so that new data never moves old places."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from tasks.data.schema import SPLITS

# shares of places, where the source has no splits of its own
SHARES = {"train": 0.6, "calibration": 0.15, "pool": 0.1, "challenge": 0.15}
# these two are needed; a source that names a pool or none may have it so
NEEDED = ("calibration", "challenge")
BOTH_CLASSES = ("train", *NEEDED)


def split_of_place(place: str, splits: Sequence[str] = SPLITS, seed: int = 0) -> str:
    """Choose one of `splits` by the hash of the place alone, each as often as its part of SHARES."""
    total = sum(SHARES[split] for split in splits)
    point = _point(place, seed) * total
    for split in SHARES:
        if split in splits:
            if point < SHARES[split]:
                return split
            point -= SHARES[split]
    return splits[0]


def open_splits(named: Iterable[str]) -> tuple[str, ...]:
    """The splits that rows are shared out among whose own file names none, or names train where that has to be divided.

    Args:
        named: the splits that files are named after.
    """
    taken = set(named) - {"train"}
    return tuple(split for split in SPLITS if split not in taken)


def is_divided(split: str, named: Iterable[str]) -> bool:
    """Whether rows of a file are shared out: where it names no split, and of train where a needed split has no file."""
    return split == "" or (split == "train" and not set(NEEDED) <= set(named))


def share_out(labels: Mapping[str, set[int]], splits: Sequence[str], seed: int = 0) -> dict[str, str]:
    """Give every place one of `splits`, and every split of BOTH_CLASSES both labels where there are places enough.

    The hash decides; a split that lacks a label then gets the first place, by hash, that another one can spare. That
    happens in small sets alone.

    Args:
        labels: the labels that occur at each place.
        splits: to choose from.
        seed: another seed, other splits.
    """
    order = sorted(labels, key=lambda place: (_point(place, seed), place))
    chosen = {place: split_of_place(place, splits, seed) for place in order}
    for split in [name for name in BOTH_CLASSES if name in splits]:
        for label in (0, 1):
            if not any(chosen[place] == split and label in labels[place] for place in order):
                spare = (place for place in order if label in labels[place] and _can_go(place, chosen, labels))
                if (place := next(spare, None)) is not None:
                    chosen[place] = split
    return chosen


def _can_go(place: str, chosen: Mapping[str, str], labels: Mapping[str, set[int]]) -> bool:
    """Whether the place's split has all of its labels without it; what is taken from the pool need not stay there."""
    home = chosen[place]
    others: set[int] = set().union(*(labels[other] for other in labels if chosen[other] == home and other != place))
    return home == "pool" or labels[place] <= others


def _point(place: str, seed: int) -> float:
    """A number from 0 to below 1 that looks random; seed 0 hashes the place alone."""
    text = place if seed == 0 else f"{seed}:{place}"
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big") / 2**64
