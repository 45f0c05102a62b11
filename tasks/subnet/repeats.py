"""The same run many times over: other places, other challenges, the answers that are known by now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.reward.places import Floats, Ints
from tasks.subnet.record import Answers, Asked
from tasks.subnet.score import ALPHA, rewards_of, scores_of

# a score is stable from where its mean over repeats stays this near to where it ends, as a share of that
NEAR = 0.05
# of a run, its end by which the level is told that the score settles at
TAIL = 0.25


@dataclass(frozen=True)
class Repeats:
    """What one miner earns in r runs of n challenges.

    Attributes:
        reward: mean over the challenges of each run, (r,).
        score: moving average after each challenge, (r, n).
    """

    reward: Floats
    score: Floats

    @property
    def end(self) -> Floats:
        """Score at the end of each run, (r,)."""
        return self.score[:, -1]

    def stable_after(self) -> int | None:
        """Challenges until the mean score stays near the level at the end; None where the runs are too short, or 0."""
        mean = self.score.mean(axis=0)
        tail = max(1, int(len(mean) * TAIL))
        level = float(mean[-tail:].mean())
        outside = np.flatnonzero(np.abs(mean - level) > NEAR * level)
        first = int(outside[-1]) + 1 if len(outside) else 0
        return None if level <= 0 or first > len(mean) - tail else first + 1


def repeat_run(
    asked: Asked, answers: Sequence[Answers], drawn: Ints, *, seed: int, alpha: float = ALPHA
) -> list[Repeats]:
    """Repeat a run for every miner.

    Places are drawn with replacement, the same ones for all miners of a repeat, so that the scatter of the pictures
    is in the result. Each miner then gets challenges of its own, as in the subnet, where two are rarely asked together.

    Args:
        asked: the challenges that were played, (n,).
        answers: of each miner, (n,).
        drawn: how often each place is in each repeat, (r, k), places in sorted order.
        seed: of the challenges.
        alpha: of the moving average.
    """
    found = []
    _, place = np.unique(asked.place, return_inverse=True)
    for number, one in enumerate(answers):
        random = np.random.default_rng([seed, number])
        chosen = np.stack([_draw(asked, row[place], random) for row in drawn])
        rewards = rewards_of(asked.label[chosen], one.value[chosen])
        found.append(Repeats(rewards.mean(axis=1), scores_of(rewards, alpha)))
    return found


def chance_above(one: Repeats, other: Repeats) -> float:
    """Chance that the first miner's score ends above the other's; a draw counts half."""
    return float(np.mean(one.end > other.end) + 0.5 * np.mean(one.end == other.end))


def _draw(asked: Asked, times: Ints, random: np.random.Generator) -> Ints:
    """Indexes of the challenges of a run, (n,): the label one to one, then by the weight of what was played.

    Args:
        asked: the challenges that were played, (n,).
        times: how often the place of each was drawn, (n,).
        random: of the run and miner.
    """
    label = random.integers(2, size=len(asked.label))
    chosen = np.zeros(len(label), dtype=np.int64)
    for value in (0, 1):
        rows = np.flatnonzero(asked.label == value)
        weight = asked.weight[rows] * times[rows]
        # places of one label alone: as they were played
        weight = weight if weight.sum() else asked.weight[rows]
        wanted = label == value
        if len(rows):
            chosen[wanted] = rows[random.choice(len(rows), size=int(wanted.sum()), p=weight / weight.sum())]
        else:
            # a short run in which one label alone came
            chosen[wanted] = random.integers(len(asked.label), size=int(wanted.sum()))
    return chosen
