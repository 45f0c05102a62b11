"""Plays a validator: one challenge after the other to every miner, and what each answered."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.subnet.challenge import Challenge
from tasks.subnet.miners import Miner, MinerError
from tasks.subnet.score import ALPHA, NO_ANSWER, Standing, Tracker

# s that a first answer may take: a model is compiled, a service starts
FIRST_SECONDS, FIRST_TRIES = 120.0, 3
TIMEOUT = "timeout"


@dataclass(frozen=True)
class Answer:
    """What a miner made of a challenge.

    Attributes:
        value: as it came, -1 where none did.
        seconds: that the request took; NaN where an answer to the same bytes was kept.
        fault: why there is none, else empty.
    """

    value: float
    seconds: float
    fault: str = ""

    @property
    def was_sent(self) -> bool:
        """Whether the challenge was sent to the miner."""
        return math.isfinite(self.seconds)


@dataclass
class Player:
    """One miner in a run.

    Attributes:
        answers: one a challenge.
        standings: likewise.
    """

    miner: Miner
    tracker: Tracker
    answers: list[Answer] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)
    kept: dict[str, Answer] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the miner."""
        return self.miner.name


@dataclass(frozen=True)
class Rules:
    """How challenges are asked.

    Attributes:
        timeout: s until an answer counts as none.
        pace: s from challenge to challenge; 0: as fast as they are answered.
        keep: whether a deterministic miner is asked once only for equal bytes.
        alpha: of the moving average.
    """

    timeout: float = 9.0
    pace: float = 0.0
    keep: bool = True
    alpha: float = ALPHA


async def play(
    miners: Sequence[Miner],
    challenges: Sequence[Challenge],
    images: Mapping[str, str],
    rules: Rules,
    show: Callable[[Sequence[Player]], None],
) -> list[Player]:
    """Ask every miner every challenge, one request at a time: miners on one machine would slow each other down.

    Args:
        miners: entered already.
        challenges: in order.
        images: base64 by challenge's key.
        rules: of the run.
        show: is called after every challenge.

    Raises:
        MinerError: a miner does not answer the request that warms it up.
    """
    players = [Player(miner, Tracker(rules.alpha)) for miner in miners]
    for player in players:
        await _warm_up(player.miner, images[challenges[0].key])
    start = time.monotonic()
    for number, challenge in enumerate(challenges):
        if rules.pace:
            await asyncio.sleep(max(0.0, start + number * rules.pace - time.monotonic()))
        for player in players:
            answer = await _answer(player, challenge, images[challenge.key], rules)
            player.answers.append(answer)
            player.standings.append(player.tracker.add(challenge.picture.label, answer.value))
        show(players)
    return players


async def _answer(player: Player, challenge: Challenge, image: str, rules: Rules) -> Answer:
    """Ask, or give the answer to the same bytes; failures are asked for again, since another time they may pass."""
    if (known := player.kept.get(challenge.key)) is not None:
        return known
    answer = await ask(player.miner, image, rules.timeout)
    if rules.keep and player.miner.is_deterministic and not answer.fault:
        player.kept[challenge.key] = Answer(answer.value, math.nan)
    return answer


async def ask(miner: Miner, image: str, seconds: float) -> Answer:
    """Send one challenge; whatever goes wrong is an answer of -1 with its reason."""
    start = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            value = await miner.answer(image, seconds)
    except TimeoutError:
        return Answer(NO_ANSWER, time.perf_counter() - start, TIMEOUT)
    # a miner may fail in any way, and the validator goes on
    except Exception as error:
        return Answer(NO_ANSWER, time.perf_counter() - start, f"{type(error).__name__}: {error}")
    return Answer(value, time.perf_counter() - start)


async def _warm_up(miner: Miner, image: str) -> None:
    """Ask until it answers, without counting it: what has just started is slower than what a validator meets."""
    for _ in range(FIRST_TRIES):
        answer = await ask(miner, image, FIRST_SECONDS)
        if not answer.fault:
            return
    raise MinerError(f"{miner.name} does not answer: {answer.fault}")
