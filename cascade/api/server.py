"""The listening socket, and the server that ends without losing a request."""

from __future__ import annotations

import asyncio
import select
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from cascade.api.auth import ServiceError

BACKLOG = 128  # connections that wait to be accepted
# between closing the listener and closing idle connections: a request that is on its way then is still answered
LINGER_SECONDS = 0.5


class DrainingServer(uvicorn.Server):
    """Ends in steps on SIGTERM: `/readyz` says 503, connections close after their answer, then no more are accepted.

    Requests that were accepted are finished at each step. Ctrl-C, and a second signal, skip the first one.

    Args:
        config: of uvicorn.
        drain: called once, at the first SIGTERM.
        seconds: that requests are still accepted for, so that a balancer can see `/readyz`.
    """

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None], seconds: float) -> None:
        super().__init__(config)
        self._drain, self._seconds = drain, seconds
        self._until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See the class; called by the signal."""
        self._drain()
        if sig == signal.SIGTERM and self._until is None and self.started:
            self._captured_signals.append(sig)
            self._until = time.monotonic() + self._seconds
            return
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Say whether to end; uvicorn asks ten times a second."""
        is_drained = self._until is not None and time.monotonic() >= self._until
        return await super().on_tick(counter) or is_drained

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener first, once nobody waits in it, and a moment later the idle connections."""
        until = time.monotonic() + LINGER_SECONDS
        # the kernel resets what it has connected and nobody has accepted when the listener closes
        while self._someone_waits() and time.monotonic() < until:
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        await asyncio.sleep(LINGER_SECONDS)
        await super().shutdown(sockets)

    def _someone_waits(self) -> bool:
        listeners = [one.fileno() for server in self.servers for one in server.sockets]
        return bool(select.select(listeners, [], [], 0)[0])


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address.

    The socket names its protocol: asyncio switches Nagle's algorithm off only on connections whose socket says TCP,
    and accepted sockets take that from this one. With it on, an answer waits up to 40 ms for a delayed ACK.

    Raises:
        ServiceError: the address is taken, or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ServiceError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener
