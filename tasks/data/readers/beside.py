"""Further sources beside the main one: photographs of one's own beside the sample or NATIX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

from tasks.config.data import FurtherSource, PullParams
from tasks.data.readers.rows import Rejected
from tasks.data.readers.source import read_rows
from tasks.data.readers.splits import split_of_place
from tasks.data.schema import ImageRow

# what is measured with and fitted on; a source that is held out whole goes there
EVALUATED = ("calibration", "challenge")


def read_all(params: PullParams) -> Iterator[ImageRow | Rejected]:
    """Read the main source, then those beside it: of the same bytes in two the main source's count.

    Raises:
        DataError: see `read_rows`.
        HubError: see `read_rows`.
    """
    return chain(read_rows(params.data), *(place_rows(read_rows(one), one) for one in params.beside))


def place_rows(rows: Iterable[ImageRow | Rejected], further: FurtherSource) -> Iterator[ImageRow | Rejected]:
    """Name rows after their source, and give them the splits that it may hold.

    The source of a row becomes `name`, or `name/own` where the row names a source itself; its place begins with the
    name, so that places of two sources never meet. The pool stands for pictures whose label nobody knows, so that
    nothing goes there.
    """
    for row in rows:
        if isinstance(row, Rejected):
            yield row
            continue
        own = "" if row.source == "real" else row.source
        placed = replace(row, source=f"{further.name}/{own}" if own else further.name, place=f"{further.name}:{row.place}")
        yield placed.in_split(_split(placed, further, own), chosen=True)


def _split(row: ImageRow, further: FurtherSource, own: str) -> str:
    if further.holds == "evaluate" or own in further.held_out:
        return split_of_place(row.place, EVALUATED, further.seed)
    if further.holds == "train" or row.split == "pool":
        return "train"
    return row.split or split_of_place(row.place, ("train", *EVALUATED), further.seed)
