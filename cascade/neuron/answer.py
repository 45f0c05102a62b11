"""From a challenge to a probability, in time and without an exception: the service's, a remembered one, or -1."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass

from cascade.client import AsyncClient, RefusedError, UnreachableError
from cascade.config.neuron import NeuronParams
from cascade.neuron.decode import BadChallengeError, decode_picture
from cascade.neuron.turns import Turns

# what the subnet's protocol has for "no answer"
NOTHING = -1.0
# s between the end that the service is given and our own
WAY_BACK = 0.15
REMEMBERED = 1024
log = logging.getLogger("streetvision")


@dataclass(frozen=True)
class Outcome:
    """What a challenge gets.

    Attributes:
        probability: of roadwork, or `NOTHING`.
        word: `answered`; `estimate`, where a stage gave no result, as when its time was up; `remembered`, of the same
            picture asked before; or why there is nothing.
    """

    probability: float
    word: str


class Answerer:
    """Asks the service; for one event loop.

    Args:
        client: entered already.
        params: section `neuron`.
    """

    def __init__(self, client: AsyncClient, params: NeuronParams) -> None:
        self._client, self._params = client, params
        self._turns = Turns(params.at_once)
        # by the digest of the picture's file
        self._known: OrderedDict[bytes, float] = OrderedDict()

    async def answer(self, text: str, until: float, priority: float = 0.0) -> Outcome:
        """Answer a challenge; raises nothing but cancellation.

        Args:
            text: its picture as base64.
            until: when the answer has to be there, on the clock of `time.monotonic`.
            priority: the higher, the sooner its turn.
        """
        try:
            picture = decode_picture(text, self._params.max_bytes)
        except BadChallengeError as error:
            return Outcome(NOTHING, error.reason)
        digest = hashlib.sha256(picture).digest()
        try:
            async with asyncio.timeout(max(until - time.monotonic(), 0.0)), self._turns.turn(priority):
                return await self._ask(picture, digest, until)
        except TimeoutError:
            return self._remembered(digest, "deadline")
        except UnreachableError:
            return self._remembered(digest, "unreachable")
        except RefusedError as error:
            # 4xx is about the picture, the key or us: asking again would not help, nor would an older answer be wrong
            log.warning("neuron.refused %s: %s", error.reason, error)
            return self._remembered(digest, error.reason)
        except Exception:
            log.exception("neuron.failed")
            return self._remembered(digest, "failed")

    async def _ask(self, picture: bytes, digest: bytes, until: float) -> Outcome:
        left = until - time.monotonic() - WAY_BACK
        found = (await self._client.predict([picture], max(left, 0.05))).results[0]
        if not 0.0 <= found.probability <= 1.0:
            raise ValueError(f"the service gives a probability of {found.probability}")
        self._known[digest] = found.probability
        self._known.move_to_end(digest)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return Outcome(found.probability, "answered" if found.complete else "estimate")

    def _remembered(self, digest: bytes, reason: str) -> Outcome:
        if (known := self._known.get(digest)) is not None:
            return Outcome(known, "remembered")
        return Outcome(NOTHING, reason)
