"""Miners that can be examined: our service and plain HTTP addresses. Further kinds: `model`, `axon`."""

from __future__ import annotations

import base64
import math
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

import httpx

from cascade.client import AsyncClient

# of `neuron.margin_seconds`
MARGIN_SECONDS = 1.0


class MinerError(RuntimeError):
    """A miner cannot be asked, or its answer cannot be read; the message names it."""


class Miner(AbstractAsyncContextManager["Miner"]):
    """One miner under examination. Entering connects or loads, which raises MinerError where it fails.

    Attributes:
        name: for tables; unique in a run.
        is_deterministic: gives equal bytes an equal answer, so that one may be kept within a run.
    """

    is_deterministic = False

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    async def answer(self, image: str, seconds: float) -> float:
        """Give the probability of roadwork for base64 of a JPEG, within so many seconds.

        Any exception is a failed answer, and the caller ends what takes longer.
        """


class ServiceMiner(Miner):
    """Our service, as the axon asks it. It keeps neither pictures nor answers, which may be of the challenge split."""

    is_deterministic = True

    def __init__(self, name: str, url: str, key: str = "") -> None:
        super().__init__(name)
        self._client = AsyncClient(url, key, keep=False)

    async def __aenter__(self) -> Self:
        """See `Miner`."""
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """See `Miner`."""
        await self._client.__aexit__()

    async def answer(self, image: str, seconds: float) -> float:
        """See `Miner`."""
        # as the axon does (`neuron.margin_seconds`): the best estimate so far, with time left for the way back
        until = seconds - min(MARGIN_SECONDS, seconds / 4)
        response = await self._client.predict([base64.b64decode(image)], until)
        return response.results[0].probability


class HttpMiner(Miner):
    """Any address that takes `{"image": base64}` by POST and answers JSON with the number `prediction`."""

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name)
        self._url = url

    async def __aenter__(self) -> Self:
        """See `Miner`."""
        self._http = httpx.AsyncClient(timeout=None)  # noqa: S113 - the caller ends what takes longer
        return self

    async def __aexit__(self, *_: object) -> None:
        """See `Miner`."""
        await self._http.aclose()

    async def answer(self, image: str, seconds: float) -> float:
        """See `Miner`."""
        response = await self._http.post(self._url, json={"image": image})
        if not response.is_success:
            raise MinerError(f"{self._url}: status {response.status_code}")
        return number_of(response, self._url)


def number_of(response: httpx.Response, url: str) -> float:
    """The number `prediction` of an answer in JSON; out of range or NaN is the validator's to judge.

    Raises:
        MinerError: there is none.
    """
    try:
        document: Any = response.json()
    except ValueError:
        raise MinerError(f"{url}: the answer is not JSON") from None
    value = document.get("prediction") if isinstance(document, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MinerError(f'{url}: the answer has no number "prediction"')
    return float(value) if math.isfinite(value) else math.nan
