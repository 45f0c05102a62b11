"""Promotions and rollbacks in a row under constant load through nginx: what clients notice of them.

`python -m tests.bench.promotion [--promotions 20] [--rollbacks 5] [--clients 4]`, with tiny releases.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from cascade.api.process import status
from cascade.release.store import Release
from tasks.config import load_params
from tasks.release.tracking import connect
from tests.bench.result import Sample, add_json, write_result
from tests.support import promotion
from tests.support.paths import ROOT
from tests.support.promotion import Load

WARM_SECONDS = 20.0


class Timeline:
    """When which release became live."""

    def __init__(self) -> None:
        self.switches: list[tuple[float, float, str]] = []  # begin and end of the switch, release

    def run(self, release: str, what: str) -> None:
        """Promote or roll back, and note when nginx was switched."""
        begun = time.monotonic()
        step: dict[str, float] = {}

        def say(line: str) -> None:
            step[line.partition(" ")[0] if " " not in line else line] = time.monotonic()

        if what == "rollback":
            promotion.rollback(release, say)
        else:
            promotion.promote(promotion.load(release), say=say)
        self.switches.append((step["switch"], step["watch"], release))
        ended = time.monotonic()
        print(f"{what} to {release}: {ended - begun:.1f} s, switched after {step['watch'] - begun:.1f} s", flush=True)


def wrong_answers(seen: Load, first: str, switches: list[tuple[float, float, str]]) -> int:
    """Answers of a release that was not live at any moment of their request; during a switch two are."""
    spans = [(0.0, switches[0][1] if switches else float("inf"), first)]
    for index, (begin, _, release) in enumerate(switches):
        end = switches[index + 1][1] if index + 1 < len(switches) else float("inf")
        spans.append((begin, end, release))
    return sum(
        not any(release == name and begin <= until and end >= since for since, until, name in spans)
        for begin, end, code, release in seen.answers
        if code == 200
    )


def p99(values: list[float]) -> float:
    """99th percentile."""
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else float("nan")


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--promotions", type=int, default=20)
    parser.add_argument("--rollbacks", type=int, default=5)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between two requests of a client")
    add_json(parser)
    arguments = parser.parse_args()
    # before the current folder changes
    target = arguments.json and arguments.json.absolute()
    with tempfile.TemporaryDirectory() as name:
        database = Path(name) / "mlflow"
        database.mkdir()
        connect(load_params(ROOT / "params.yaml"), database).search_experiments()
        folder = Path(name) / "project"
        folder.mkdir()
        promotion.make_project(folder, database / "var" / "mlflow.db")
        os.chdir(folder)
        try:
            rows = measure(arguments)
        finally:
            promotion.stop_all()
    write_result(target, {name: [one] for name, one in rows.items()})


def measure(arguments: argparse.Namespace) -> dict[str, Sample]:
    """Two releases that take turns."""
    one, two = promotion.build(0.8), promotion.build(0.9)
    promotion.promote(one, say=lambda _: None)
    live, timeline = status(), Timeline()
    assert live is not None
    with promotion.clients(live.url, arguments.clients, arguments.pause) as seen:
        time.sleep(WARM_SECONDS)
        before = time.monotonic()
        turns: list[Release] = [two, one] * arguments.promotions
        for release in turns[: arguments.promotions]:
            timeline.run(release.id, "promote")
        back = turns[arguments.promotions :]
        for release in back[: arguments.rollbacks]:
            timeline.run(release.id, "rollback")
    return report(seen, one.id, before, timeline)


def report(seen: Load, first: str, before: float, timeline: Timeline) -> dict[str, Sample]:
    """Print what clients saw, and give it as rows."""
    calm = [end - begin for begin, end, _, _ in seen.answers if end < before]
    windows = [(begin - 0.5, end + 0.5) for begin, end, _ in timeline.switches]
    swaps = [e - b for b, e, _, _ in seen.answers if any(b <= until and e >= since for since, until in windows)]
    busy = [end - begin for begin, end, _, _ in seen.answers if begin >= before]
    print(f"requests: {len(seen.answers)}, failed: {len(seen.failed)} {seen.failed[:3]}")
    wrong = wrong_answers(seen, first, timeline.switches)
    print(f"answers of a release that was not live: {wrong}")
    print(f"p99 before: {p99(calm):.3f} s ({len(calm)}); around switches: {p99(swaps):.3f} s ({len(swaps)})")
    print(f"p99 of the whole time of promotions: {p99(busy):.3f} s ({len(busy)})")
    print(f"switch: median {statistics.median(end - begin for begin, end, _ in timeline.switches):.2f} s")
    # of the same clients: around switches, and before the first
    waits = Sample(ours=p99(swaps), peer=p99(calm), ratio=p99(swaps) / p99(calm))
    return {"promotion_lost": Sample(ours=len(seen.failed) + wrong), "promotion_p99": waits}


if __name__ == "__main__":
    main()
