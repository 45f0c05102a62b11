"""Near-duplicates across splits: refused, or left out of the split that learns where the splits are of our making."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.data.examine import Facts
from tasks.data.ledger import Ledger
from tasks.data.near_duplicates import near_pairs
from tasks.data.readers import ORDER, Rejected
from tasks.data.schema import SPLITS, DataError, split_file

SHOWN = 20


@dataclass(frozen=True)
class Pair:
    """Near-duplicates in two splits."""

    first: Facts
    second: Facts
    bits: int


def resolve_near_duplicates(ledger: Ledger, bits: int, folder: Path) -> None:
    """Let no picture lie in two splits.

    Where the source names places and leaves the splits to us, nobody could mend the source: of such a pair the one goes
    to quarantine whose split was chosen, and of two the one that is learned from rather than measured with.

    Args:
        ledger: of the rows that are kept; loses those that go.
        bits: hashes that differ in at most so many are near-duplicates.
        folder: holds the splits' files, which are written again without them.

    Raises:
        DataError: lists the pairs of which neither may go.
    """
    gone: dict[str, dict[str, Rejected]] = defaultdict(dict)
    refused: list[Pair] = []
    for pair in _pairs(ledger, bits):
        if any(one.sha256 in gone[one.split] for one in (pair.first, pair.second)):
            continue
        movable = [one for one in (pair.first, pair.second) if one.sha256 in ledger.chosen]
        if not movable:
            refused.append(pair)
            continue
        loser = max(movable, key=lambda one: ORDER.index(one.split))
        gone[loser.split][loser.sha256] = _rejected(loser, pair)
    if refused:
        raise DataError(_refusal(refused))
    for split, rejected in gone.items():
        if rejected:
            ledger.remove(rejected)
            _rewrite(split_file(folder, split), set(rejected))


def _pairs(ledger: Ledger, bits: int) -> Iterator[Pair]:
    facts = {split: ledger.of_split(split) for split in SPLITS}
    stacks = {split: _stack(facts[split]) for split in SPLITS}
    for a, b in combinations(SPLITS, 2):
        for i, j, distance in near_pairs(stacks[a], stacks[b], bits):
            yield Pair(facts[a][i], facts[b][j], distance)


def _stack(facts: list[Facts]) -> NDArray[np.uint8]:
    return np.array([one.thumbnail for one in facts], dtype=np.uint8).reshape(-1, 32, 32)


def _rejected(loser: Facts, pair: Pair) -> Rejected:
    twin = pair.first if loser is pair.second else pair.second
    return Rejected(loser.origin, loser.name, "near_duplicate", f"the same picture as {twin.name} in {twin.split}")


def _refusal(pairs: list[Pair]) -> str:
    lines = [
        f"  {pair.first.split}: {pair.first.name}  =  {pair.second.split}: {pair.second.name}  ({pair.bits} bits)"
        for pair in pairs[:SHOWN]
    ]
    more = [f"  and {len(pairs) - SHOWN} more"] if len(pairs) > SHOWN else []
    head = f"{len(pairs)} near-duplicates across splits; give the two of a pair one place (group), or remove one:"
    return "\n".join([head, *lines, *more])


def _rewrite(path: Path, digests: set[str]) -> None:
    """Write a parquet file again without some rows, a few at a time: a split may be larger than memory."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    partial = path.with_name(f".{path.name}.partial")
    unwanted = pa.array(sorted(digests), pa.string())
    with pq.ParquetFile(path) as file, pq.ParquetWriter(partial, file.schema_arrow) as writer:
        for batch in file.iter_batches(batch_size=64):
            writer.write_batch(batch.filter(pc.invert(pc.is_in(batch["sha256"], value_set=unwanted))))
    partial.replace(path)
