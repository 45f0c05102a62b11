"""Damage to files, seeded: each case is repeatable by its number."""

from __future__ import annotations

import os

import numpy as np

# cases of a nightly run (`make fuzz`), instead of the few of the unit tests
VARIABLE = "FUZZ_CASES"


def cases(usual: int) -> range:
    """Numbers of the cases to try."""
    return range(int(os.environ.get(VARIABLE, usual)))


def mutated(data: bytes, number: int, *, low: int = 0, high: int | None = None) -> bytes:
    """Damage a file: a few bytes anew, a run of them set, moved, doubled or cut out, or the rest cut off.

    Args:
        data: a sound file.
        number: of the case.
        low: nothing before it is touched.
        high: nothing from it on is; with a bound the length stays the same.
    """
    rng = np.random.default_rng(number)
    content, end = bytearray(data), len(data) if high is None else high
    kinds = ["few", "run", "moved"] + ([] if high is not None else ["doubled", "cut", "end"])
    for kind in rng.choice(kinds, size=rng.integers(1, 4)):
        start = int(rng.integers(low, max(end - 1, low + 1)))
        length = int(min(rng.geometric(0.05), max(end - start, 1)))
        if kind == "few":
            for at in rng.integers(low, end, size=rng.integers(1, 9)):
                content[at] = int(rng.integers(256))
        elif kind == "run":
            content[start : start + length] = bytes([int(rng.choice([0, 255, 127, 128]))]) * length
        elif kind == "moved":
            source = int(rng.integers(low, max(end - length, low + 1)))
            content[start : start + length] = content[source : source + length].ljust(length, b"\0")[:length]
        elif kind == "doubled":
            content[start:start] = content[start : start + length]
        elif kind == "cut":
            del content[start : start + length]
        else:
            del content[max(start, 1) :]
        end = min(end, len(content)) if high is not None else len(content)
        if end <= low:
            break
    return bytes(content)
