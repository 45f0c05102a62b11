"""Admission by bytes: limits of one body, and of all bodies that are held at a time, before a body is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade.api.requests import Refused

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyAdmission:
    """ASGI middleware that bounds the memory of request bodies.

    A body is refused by its stated length before a byte of it is read; one that states none is counted while it is
    read. JSON holds a body about three times (bytes, text, decoded images), so `limit_in_flight` is far below the
    memory of the service.

    Args:
        app: the next application.
        limit: bytes of one body.
        limit_in_flight: bytes of all bodies that are being read or answered; at least `limit`.
    """

    def __init__(self, app: ASGIApp, limit: int, limit_in_flight: int) -> None:
        self.app, self.limit, self.limit_in_flight = app, limit, max(limit, limit_in_flight)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a `receive` that books its bytes, and give them back when it is answered."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        stated = _stated_length(scope)
        booked = read = 0

        async def counted() -> Message:
            nonlocal booked, read
            # the first call comes after key and state were checked, and before the body is read
            booked = self._book(booked, stated)
            message = await receive()
            read += len(message.get("body", b""))
            booked = self._book(booked, read)
            return message

        try:
            return await self.app(scope, counted, send)
        finally:
            self._held -= booked

    def _book(self, booked: int, wanted: int) -> int:
        """Raise a body's booking to `wanted` bytes and give it; raises Refused where a limit is passed."""
        if wanted > self.limit:
            raise Refused(413, "too_large", f"the request is larger than {self.limit} bytes")
        more = max(0, wanted - booked)
        if self._held + more > self.limit_in_flight:
            raise Refused(503, "busy", "the requests in work hold as many bytes as the service may; try again")
        self._held += more
        return booked + more


def _stated_length(scope: Scope) -> int:
    stated = dict(scope["headers"]).get(b"content-length", b"0")
    return int(stated) if stated.isdigit() else 0
