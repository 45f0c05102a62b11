"""What every request to the axon passes first: limits of size and number, its time of arrival, and its count."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from cascade.config.neuron import NeuronParams
from cascade.neuron.decode import most_characters
from cascade.neuron.metrics import NeuronMetrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# the other fields of a synapse as JSON
FIELDS = 65_536
# on the clock of time.monotonic, when the headers of the request were there
arrived: ContextVar[float] = ContextVar("arrived", default=0.0)
log = logging.getLogger("streetvision")


class BodyTooLargeError(RuntimeError):
    """A body without a stated length passes the limit; the axon answers 500."""


class Guard:
    """ASGI middleware around the axon's application, which itself reads bodies of any size.

    Args:
        app: of the axon.
        params: section `neuron`.
        metrics: of the miner.
    """

    def __init__(self, app: ASGIApp, params: NeuronParams, metrics: NeuronMetrics) -> None:
        self.app, self._metrics = app, metrics
        self._most, self._free = most_characters(params.max_bytes) + FIELDS, params.max_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it before its body is read."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.responses.labels(message["status"]).inc()
                if message["status"] >= 500:
                    log.warning("neuron.response %d to %s", message["status"], scope["path"][:80])
            await send(message)

        if self._free < 1:
            return await PlainTextResponse("busy", 503)(scope, receive, answer)
        if _stated_length(scope) > self._most:
            return await PlainTextResponse("too large", 413)(scope, receive, answer)
        arrived.set(time.monotonic())
        self._free -= 1
        try:
            with self._metrics.in_progress.track_inprogress():
                await self.app(scope, self._counted(receive), answer)
        finally:
            self._free += 1

    def _counted(self, receive: Receive) -> Receive:
        left = self._most

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise BodyTooLargeError("the body is too large")
            return message

        return limited


def _stated_length(scope: Scope) -> int:
    text = dict(scope["headers"]).get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0
