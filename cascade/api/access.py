"""What every request passes first: its id, its line in the log, and an answer whatever goes wrong."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from cascade.api.logs import FACTS, request_id
from cascade.api.requests import Refused

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# letters that no log or header gives a meaning to
SOUND_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
ID_HEADER = b"x-request-id"
# asked every few seconds by machines
PROBES = ("/healthz", "/readyz", "/metrics")
log = logging.getLogger("streetvision")


class Access:
    """ASGI middleware; a route adds facts for the log to `request.state.facts`.

    Args:
        app: the next application.
        is_draining: whether the service is about to end, so that connections are closed after their answer.
        failed: is called when a request fails by a fault of ours.
    """

    def __init__(self, app: ASGIApp, is_draining: Callable[[], bool], failed: Callable[[], None]) -> None:
        self.app, self._is_draining, self._failed = app, is_draining, failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer 500 where nothing else did."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status, begun = time.perf_counter(), 500, False
        name = _id_of(scope)
        token = request_id.set(name)
        facts = scope.setdefault("state", {}).setdefault("facts", {})

        async def answer(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message.get("headers", ()), *self._headers(name)]
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except Exception:
            # what went wrong is for the log; it may name paths that are no caller's business
            log.exception("%s %s failed", scope["method"], scope["path"])
            self._failed()
            if not begun:
                refusal = Refused(500, "internal", "the service failed; its log says why")
                await JSONResponse(refusal.body(), refusal.status)(scope, receive, answer)
        finally:
            _write(scope, status, time.perf_counter() - start, facts)
            request_id.reset(token)

    def _headers(self, name: str) -> list[tuple[bytes, bytes]]:
        closing = [(b"connection", b"close")] if self._is_draining() else []
        return [(ID_HEADER, name.encode()), *closing]


def _id_of(scope: Scope) -> str:
    """The caller's own id where it is sound, else a new one."""
    given = dict(scope["headers"]).get(ID_HEADER, b"")
    return given.decode() if SOUND_ID.fullmatch(given) else uuid.uuid4().hex


def _write(scope: Scope, status: int, seconds: float, facts: dict[str, Any]) -> None:
    line = {
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "milliseconds": round(seconds * 1000, 1),
        **facts,
    }
    level = logging.DEBUG if scope["path"] in PROBES else logging.INFO
    log.log(level, "%s %s %d", scope["method"], scope["path"], status, extra={FACTS: line})
