"""Client of the service, for programs: pictures and clips in, typed predictions out, over `httpx`.

Example:
    >>> with Client("http://127.0.0.1:8080") as client:
    ...     print(client.predict([Path("street.jpg").read_bytes()]).results[0].probability)
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from cascade.core.cascade import CLIP, PREDICT, RELEASE, PredictResponse
from cascade.deadline import DEADLINE_HEADER
from cascade.video.clip import ClipPrediction

# what passes by itself: a limit, a service that starts, ends or is busy, and a proxy without one behind it
TRANSIENT = (429, 502, 503, 504)
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
# the service answers within 9 s; loading may take longer, and is retried
SECONDS = 30.0
Answer = TypeVar("Answer", bound=BaseModel)


class ClientError(RuntimeError):
    """The service gave no answer."""


class UnreachableError(ClientError):
    """No service could be reached, or what answered is none of ours."""


class RefusedError(ClientError):
    """The service refused the request.

    Attributes:
        status: of HTTP.
        reason: one word for machines, as `not_an_image`.
        index: which image is to blame, where it is one.
        request_id: under which the service's log has it.
    """

    def __init__(self, status: int, reason: str, message: str, index: int | None, request_id: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.index, self.request_id = status, reason, index, request_id


class ReleaseSummary(BaseModel):
    """The part of `/v1/release` that a client needs."""

    release: str
    thresholds: dict[str, float]
    stages: list[dict[str, Any]]
    revision: dict[str, str]


Got = httpx.Response | httpx.TransportError


class _Calls:
    """What both clients share: requests, waits and answers, without input or output.

    Args:
        url: of the service.
        key: API key, where the service has one.
        attempts: how often a request is sent at most.
        longest_wait: s between two of them; a longer `Retry-After` is an error at once.
        keep: whether the service may keep pictures and answers; without it every answer is computed anew.
    """

    def __init__(
        self, url: str, key: str = "", *, attempts: int = 5, longest_wait: float = LONGEST_WAIT, keep: bool = True
    ) -> None:
        self.url, self._attempts, self._longest_wait = url.rstrip("/"), attempts, longest_wait
        # bytes, since keys beyond ASCII travel as UTF-8
        self._headers = {"Authorization": f"Bearer {key}".encode()} if key else {}
        self._headers |= {} if keep else {"Cache-Control": b"no-store"}

    def _settings(self) -> dict[str, Any]:
        return {"base_url": self.url, "headers": self._headers, "timeout": SECONDS}

    def _wait_after(self, got: Got, attempt: int) -> float | None:
        """Seconds until the request is sent again; None where that would not help.

        Predictions change nothing in the service, so sending one twice is no harm.

        Args:
            got: the answer, or why there was none.
            attempt: how many were made.
        """
        wait = 0.0
        if isinstance(got, httpx.Response):
            if got.status_code not in TRANSIENT:
                return None
            wait = _retry_after(got)
        if attempt >= self._attempts or wait > self._longest_wait:
            return None
        # jitter: clients that failed together do not come back together (Exponential Backoff And Jitter, AWS, 2015)
        backoff = FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311
        return float(min(max(wait, backoff), self._longest_wait))

    def _checked(self, got: Got) -> httpx.Response:
        if not isinstance(got, httpx.Response):
            raise UnreachableError(f"{self.url}: {str(got) or type(got).__name__}") from got
        if got.is_success:
            return got
        raise _refusal(got)


class Client(_Calls):
    """See the module; blocks until the answer is there. For several threads at once."""

    def __enter__(self) -> Self:
        self._http = httpx.Client(**self._settings())
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def predict(self, images: Sequence[bytes]) -> PredictResponse:
        """Predict images, given as files' contents.

        Raises:
            RefusedError: one of them, or the request, is refused.
            UnreachableError: see there.
        """
        return _read(PredictResponse, self._send("POST", PREDICT, images))

    def predict_clip(self, clip: bytes) -> ClipPrediction:
        """Predict a clip, given as a file's content; raises as `predict`."""
        return _read(ClipPrediction, self._send("POST", CLIP, [clip]))

    def release(self) -> ReleaseSummary:
        """Say what is served; raises as `predict`."""
        return _read(ReleaseSummary, self._send("GET", RELEASE))

    def _send(self, method: str, path: str, files: Sequence[bytes] = ()) -> httpx.Response:
        for attempt in count(1):
            got: Got
            try:
                got = self._http.request(method, path, files=_parts(files))
            except httpx.TransportError as error:
                got = error
            if (wait := self._wait_after(got, attempt)) is None:
                break
            time.sleep(wait)
        return self._checked(got)


class AsyncClient(_Calls):
    """The same with `async with` and `await`."""

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(**self._settings())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def predict(self, images: Sequence[bytes], seconds: float | None = None) -> PredictResponse:
        """See `Client.predict`.

        Args:
            images: files' contents.
            seconds: after which the service shall answer with the best estimate so far; None: its own limit.
        """
        headers = {} if seconds is None else {DEADLINE_HEADER: f"{seconds:.3f}"}
        return _read(PredictResponse, await self._send("POST", PREDICT, images, headers))

    async def predict_clip(self, clip: bytes) -> ClipPrediction:
        """See `Client.predict_clip`."""
        return _read(ClipPrediction, await self._send("POST", CLIP, [clip]))

    async def release(self) -> ReleaseSummary:
        """See `Client.release`."""
        return _read(ReleaseSummary, await self._send("GET", RELEASE))

    async def _send(
        self, method: str, path: str, files: Sequence[bytes] = (), headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        for attempt in count(1):
            got: Got
            try:
                got = await self._http.request(method, path, files=_parts(files), headers=headers)
            except httpx.TransportError as error:
                got = error
            if (wait := self._wait_after(got, attempt)) is None:
                break
            await asyncio.sleep(wait)
        return self._checked(got)


def _parts(files: Sequence[bytes]) -> list[tuple[str, tuple[str, bytes]]] | None:
    return [("files", (str(number), data)) for number, data in enumerate(files)] or None


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the service asks for; a date, as proxies may write, counts as none."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _refusal(response: httpx.Response) -> ClientError:
    try:
        error = response.json()["error"]
        reason, message, index = str(error["reason"]), str(error["message"]), error.get("index")
    except (ValueError, KeyError, TypeError, AttributeError):
        return UnreachableError(f"{response.url}: status {response.status_code}, and not from this service")
    return RefusedError(response.status_code, reason, message, index, response.headers.get("X-Request-Id", ""))


def _read(model: type[Answer], response: httpx.Response) -> Answer:
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise UnreachableError(f"{response.url}: the answer is not from this version of the service") from None
