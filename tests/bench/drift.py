"""How soon drift is found, and how often it is seen where there is none: `python tests/bench/drift.py --cache DIR`.

tests/bench/drift_pictures.py makes the cache. Each of the repeats draws its own reference from renderings that the
head was not trained on, and a stream of further ones: unchanged pictures, or changed ones after a first window. Drift
is looked for after every `STEP` pictures, as the nightly run does, with the rules of params.yaml.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tasks.config import load_params
from tasks.config.monitoring import DriftParams
from tasks.monitoring.two_samples import SIGNALS, Pictures, compare

# new pictures between two runs, half a window as drift.NEW_SHARE wants it; changed pictures of a stream
STEP, CHANGED = 100, 500
NONE, PLACES = "no drift", "no drift, other places"
# renderings of the night, and pictures that the classifier decides, of models/classifier/classifier.json
NIGHT = "night"
EXITS = (0.12, 0.825)


@dataclass(frozen=True)
class Kind:
    """Pictures of one kind, by the digest of the rendering that they come from."""

    keys: NDArray[np.str_]
    probability: NDArray[np.float64]
    vectors: NDArray[np.float32]

    def only(self, rows: NDArray[np.int64]) -> Kind:
        """Some of them, in this order."""
        return Kind(self.keys[rows], self.probability[rows], self.vectors[rows])

    def pictures(self) -> Pictures:
        """As they are compared; the exit is that of stage 1, or that the picture went on."""
        low, high = EXITS
        exits = np.where(self.probability <= low, "clear", np.where(self.probability >= high, "roadwork", "on"))
        return Pictures(self.vectors, self.probability, exits.tolist())


def load(cache: Path, kind: str) -> Kind:
    """Read one kind."""
    p, vectors = np.load(cache / f"{kind}-probability.npz"), np.load(cache / f"{kind}-vectors.npz")
    assert (p["keys"] == vectors["keys"]).all()
    return Kind(p["keys"], p["values"], vectors["values"].astype(np.float32))


def streams(cache: Path, rules: DriftParams, seed: int) -> Iterator[tuple[str, Kind, Kind]]:
    """Give name, reference and stream of each case of a repeat; a rendering is in one of reference, before and after.

    A stream begins with a window of unchanged pictures. Where there are fewer changed ones than are wanted, they are
    drawn more than once.
    """
    plain, night = load(cache, "plain"), np.load(cache / "facts.npz")["time"] == NIGHT
    random = np.random.default_rng(seed)
    order = random.permutation(len(plain.keys))
    first, rest = order[: rules.reference], order[rules.reference :]
    before, after = rest[: rules.window], rest[rules.window :]
    ours, start = plain.only(first), plain.only(before)
    yield NONE, ours, plain.only(rest)
    yield (
        PLACES,
        *(plain.only(rows) for rows in by_place(np.load(cache / "facts.npz")["place"], rules.reference, random)),
    )
    yield "night only", ours, joined(start, plain.only(random.choice(after[night[after]], CHANGED)))
    for kind in ("fog", "blur", "camera"):
        yield kind, ours, joined(start, load(cache, kind).only(random.choice(after, CHANGED)))
    photographs = load(cache, "photographs")
    yield "photographs", ours, joined(start, photographs.only(random.choice(len(photographs.keys), CHANGED)))


def by_place(place: NDArray[np.str_], count: int, random: Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide pictures by whole places: about so many, and the others in the order of their places, as traffic comes."""
    order = {name: rank for rank, name in enumerate(random.permutation(np.unique(place)).tolist())}
    rows = np.argsort([order[name] for name in place.tolist()], kind="stable")
    return rows[:count], rows[count:]


def joined(first: Kind, second: Kind) -> Kind:
    """One after the other."""
    parts = zip(vars(first).values(), vars(second).values(), strict=True)
    return Kind(*(np.concatenate(pair) for pair in parts))


def follow(reference: Kind, stream: Kind, rules: DriftParams) -> tuple[list[dict[str, float]], int | None]:
    """Look for drift after every step: p-values of each run, and changed pictures until the event, None without one."""
    runs: list[dict[str, float]] = []
    in_a_row, event = 0, None
    for seen in range(rules.window + STEP, len(stream.keys) + 1, STEP):
        window = stream.only(np.arange(seen - rules.window, seen))
        found = compare(reference.pictures(), window.pictures(), rules.permutations, block=rules.block, seed=seen)
        runs.append({name: found[name].p for name in SIGNALS})
        in_a_row = in_a_row + 1 if min(runs[-1].values()) <= rules.level else 0
        if in_a_row >= rules.breaches and event is None:
            event = seen - rules.window
    return runs, event


def report(found: dict[str, list[tuple[list[dict[str, float]], int | None]]], level: float) -> Iterator[str]:
    """A Markdown table, a row a case."""
    heads = ("traffic", "repeats", "events", "pictures until the event, median (most)", "runs", "breaches", *SIGNALS)
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for case, repeats in found.items():
        runs = [run for several, _ in repeats for run in several]
        events = [event for _, event in repeats if event is not None]
        when = f"{np.median(events):.0f} ({max(events)})" if events else "none"
        each = " | ".join(f"{np.mean([run[name] <= level for run in runs]):.1%}" for name in SIGNALS)
        breaches = sum(min(run.values()) <= level for run in runs)
        share = f"{breaches} ({breaches / len(runs):.1%})"
        yield f"| {case} | {len(repeats)} | {len(events)} | {when} | {len(runs)} | {share} | {each} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=20, help="of each case")
    parser.add_argument("--quiet-repeats", type=int, default=200, help="without drift, where breaches are rare")
    given = parser.parse_args()
    rules = load_params().monitoring.drift
    found: dict[str, list[tuple[list[dict[str, float]], int | None]]] = {}
    for seed in range(max(given.repeats, given.quiet_repeats)):
        for case, reference, stream in streams(given.cache, rules, seed):
            if seed < (given.quiet_repeats if case in (NONE, PLACES) else given.repeats):
                found.setdefault(case, []).append(follow(reference, stream, rules))
    print("\n".join(report(found, rules.level)))


if __name__ == "__main__":
    main()
