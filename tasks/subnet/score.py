"""How a validator of the subnet turns a miner's answers into a score (natix/validator, read at 28a1755).

A miner's history holds its last 100 challenges, answered or not. Windows are cut first, 100 for MCC and 10 for
accuracy, and unanswered challenges (-1) leave them afterwards, so that a window may hold fewer. Answers count as
`np.round` makes them, so that 0.5 is clear. The reward is `(0.5 * MCC + 0.5 * accuracy)^3`, 0 for an answer of -1 or
outside [0, 1]. An answer that does not round to 0 or 1 (1.6, -2, NaN) makes scikit-learn refuse the whole window: both
figures are 0 until it has left. The score is a moving average of the rewards, from 0.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.evaluate.scores import accuracy, mcc, reward
from tasks.reward.expected import ACCURACY_WINDOW, MCC_WINDOW, POWER, positive_mcc
from tasks.reward.places import Floats

ALPHA = 0.05
# of a challenge that timed out or failed
NO_ANSWER = -1.0
# kinds of answers, after rounding
HIT, MISS, ALARM, REJECTION, UNANSWERED, UNUSABLE = range(6)


@dataclass(frozen=True)
class Standing:
    """A miner's figures after a challenge: MCC of the last 100, accuracy of the last 10, reward, and moving average."""

    mcc: float
    accuracy: float
    reward: float
    score: float


class Tracker:
    """One miner as one validator sees it, challenge by challenge."""

    def __init__(self, alpha: float = ALPHA) -> None:
        self._alpha, self._score = alpha, 0.0
        self._history: deque[tuple[int, float]] = deque(maxlen=MCC_WINDOW)

    def add(self, label: int, answer: float) -> Standing:
        """Note an answer, -1 for none, and give where the miner stands."""
        self._history.append((label, answer))
        long, short = (window_figures(list(self._history)[-size:]) for size in (MCC_WINDOW, ACCURACY_WINDOW))
        paid = 0.0
        if answer != NO_ANSWER and not (answer < 0 or answer > 1):
            paid = reward(long[0], short[1])
        self._score = self._alpha * paid + (1 - self._alpha) * self._score
        return Standing(long[0], short[1], paid, self._score)


def window_figures(window: list[tuple[int, float]]) -> tuple[float, float]:
    """MCC, at least 0, and accuracy of labels and answers; both 0 without answers, and where one is unusable."""
    kept = [(label, float(np.round(answer))) for label, answer in window if answer != NO_ANSWER]
    if not kept or any(said not in (0.0, 1.0) for _, said in kept):
        return 0.0, 0.0
    label, said = zip(*kept, strict=True)
    return max(0.0, mcc(label, said)), accuracy(label, said)


def kinds(label: ArrayLike, answer: ArrayLike) -> NDArray[np.int64]:
    """What each answer is: HIT, MISS, ALARM, REJECTION, UNANSWERED or UNUSABLE; any shape."""
    truth, given = np.asarray(label) == 1, np.asarray(answer, dtype=np.float64)
    said = np.round(given)
    kind = np.where(truth, np.where(said == 1, HIT, MISS), np.where(said == 1, ALARM, REJECTION))
    kind = np.where((said == 0) | (said == 1), kind, UNUSABLE)
    return np.where(given == NO_ANSWER, UNANSWERED, kind)


def rewards_of(label: ArrayLike, answer: ArrayLike) -> Floats:
    """Reward of every challenge of whole runs, as `Tracker` gives them one by one.

    Args:
        label: 0 or 1, (r, n): r runs of n challenges.
        answer: -1 for none, (r, n).

    Returns:
        (r, n).
    """
    given, kind = np.asarray(answer, dtype=np.float64), kinds(label, answer)
    long, short = (_in_windows(kind, size) for size in (MCC_WINDOW, ACCURACY_WINDOW))
    right, counted = short[..., HIT] + short[..., REJECTION], short[..., :UNANSWERED].sum(axis=-1)
    usable = long[..., UNUSABLE] == 0
    correlation = np.where(usable, positive_mcc(*(long[..., cell] for cell in (HIT, MISS, ALARM, REJECTION))), 0.0)
    share = np.where(short[..., UNUSABLE] == 0, right / np.maximum(counted, 1), 0.0)
    paid = (given >= 0) & (given <= 1)
    # an unusable answer within [0, 1] is NaN, whose windows give 0
    return np.where(paid, (0.5 * correlation + 0.5 * share) ** POWER, 0.0)


def scores_of(rewards: Floats, alpha: float = ALPHA) -> Floats:
    """Moving average of rewards, from 0: (r, n)."""
    score, found = np.zeros(len(rewards)), np.empty_like(rewards)
    for step in range(rewards.shape[1]):
        score = alpha * rewards[:, step] + (1 - alpha) * score
        found[:, step] = score
    return found


def _in_windows(kind: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How many of each kind the last `size` challenges hold: (r, n, 6)."""
    counts = np.cumsum(kind[..., None] == np.arange(UNUSABLE + 1), axis=1, dtype=np.int64)
    before = np.zeros_like(counts)
    before[:, size:] = counts[:, :-size] if counts.shape[1] > size else 0
    return counts - before
