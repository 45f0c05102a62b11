"""What people call the two classes, in folder names, manifests and data sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from cascade.probability import LABEL_NUMBERS

ROADWORK_NAMES = (
    "roadworks", "road works", "works", "construction", "road construction", "construction site", "construction zone",
    "work zone", "with roadwork", "with roadworks", "has roadwork", "positive", "true", "yes",
)  # fmt: skip
CLEAR_NAMES = (
    "no roadwork", "no roadworks", "not roadwork", "non roadwork", "without roadwork", "without roadworks",
    "no construction", "no works", "street", "road", "normal", "background", "negative", "false", "no",
)  # fmt: skip
# how names are listed in messages: the ones that we recommend
EXPECTED = ", ".join(LABEL_NUMBERS)


def normalised(name: str) -> str:
    """A name without case and what parts its words: `Road-Works` and `road works` are one, `-1` and `1` are two."""
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", "", name.strip().casefold())


KNOWN = {normalised(name): label for name, label in LABEL_NUMBERS.items()}
KNOWN |= {normalised(name): 1 for name in ROADWORK_NAMES} | {normalised(name): 0 for name in CLEAR_NAMES}


class ClassNames:
    """Labels by name: those that everybody uses, and before them those that the user gives.

    Args:
        roadwork: names of label 1.
        clear: names of label 0.
        left_out: names of classes whose pictures are not used.

    Raises:
        ValueError: one name stands in two of them.
    """

    def __init__(self, roadwork: Iterable[str] = (), clear: Iterable[str] = (), left_out: Iterable[str] = ()) -> None:
        self._left_out = {normalised(name) for name in left_out}
        ones, zeros = ({normalised(name) for name in names} for names in (roadwork, clear))
        if twice := (ones & zeros) | ((ones | zeros) & self._left_out):
            raise ValueError(f"class {min(twice)!r} is named twice; a class is roadwork, clear or left out")
        self._labels: Mapping[str, int] = KNOWN | dict.fromkeys(ones, 1) | dict.fromkeys(zeros, 0)

    def label(self, name: str) -> int | None:
        """0 for clear, 1 for roadwork, None for a name that is unknown or left out."""
        return None if self.is_left_out(name) else self._labels.get(normalised(name))

    def is_left_out(self, name: str) -> bool:
        """Whether the user wants no picture of this class."""
        return normalised(name) in self._left_out


COMMON = ClassNames()
