"""A run as arrays: what was asked, and what one miner answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.reward.places import Floats, Ints
from tasks.subnet.challenge import Challenge
from tasks.subnet.play import TIMEOUT, Player
from tasks.subnet.score import NO_ANSWER


@dataclass(frozen=True)
class Asked:
    """The challenges of a run, arrays of shape (n,).

    Attributes:
        label: 0 or 1.
        level: of degradation, 0 to 3.
        source: real or synthetic.
        place: split key; intervals draw places.
        weight: what a challenge counts in figures for all challenges, their sum is 1: the chance of its label and
            source, shared equally among the views of the run that have both, and of a view among its challenges.
        views: how many of them differ.
    """

    label: Ints
    level: Ints
    source: NDArray[np.str_]
    place: NDArray[np.str_]
    weight: Floats
    views: int


@dataclass(frozen=True)
class Answers:
    """What one miner answered, arrays of shape (n,).

    Attributes:
        name: of the miner.
        value: -1 for none.
        seconds: of the request; NaN where the answer to the same bytes was kept.
        reward: of each challenge.
        score: moving average.
        timeouts: answers that came too late.
        errors: how often each other failure came, the most frequent first.
    """

    name: str
    value: Floats
    seconds: Floats
    reward: Floats
    score: Floats
    timeouts: int
    errors: dict[str, int]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which challenges were answered, (n,)."""
        return np.asarray(self.value != NO_ANSWER)

    @property
    def paid(self) -> NDArray[np.bool_]:
        """Which answers may earn something, (n,): those within [0, 1]."""
        return np.asarray((self.value >= 0) & (self.value <= 1))

    @property
    def is_usable(self) -> bool:
        """Whether every answer rounds to 0 or 1; one that does not spoils the windows that it is in."""
        return bool(np.isin(np.round(self.value[self.answered]), (0, 1)).all())

    @property
    def latencies(self) -> Floats:
        """Of the requests that were really sent, ms, (m,)."""
        return 1000 * self.seconds[np.isfinite(self.seconds)]


def asked_of(challenges: Sequence[Challenge]) -> Asked:
    """The challenges as arrays."""
    return Asked(
        label=np.array([one.picture.label for one in challenges], dtype=np.int64),
        level=np.array([one.view.level for one in challenges], dtype=np.int64),
        source=np.array([one.picture.source for one in challenges]),
        place=np.array([one.picture.place for one in challenges]),
        weight=_weights(challenges),
        views=len({one.key for one in challenges}),
    )


def _weights(challenges: Sequence[Challenge]) -> Floats:
    asked = Counter(one.key for one in challenges)
    views = Counter((one.picture.label, one.picture.source) for one in {one.key: one for one in challenges}.values())
    shares = [one.share / views[one.picture.label, one.picture.source] / asked[one.key] for one in challenges]
    return np.asarray(shares) / sum(shares)


def answers_of(player: Player) -> Answers:
    """What a miner answered as arrays."""
    faults = Counter(answer.fault for answer in player.answers if answer.fault)
    return Answers(
        name=player.name,
        value=np.array([answer.value for answer in player.answers], dtype=np.float64),
        seconds=np.array([answer.seconds for answer in player.answers], dtype=np.float64),
        reward=np.array([standing.reward for standing in player.standings], dtype=np.float64),
        score=np.array([standing.score for standing in player.standings], dtype=np.float64),
        timeouts=faults.pop(TIMEOUT, 0),
        errors=dict(faults.most_common()),
    )
