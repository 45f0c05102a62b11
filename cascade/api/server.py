"""The listening socket, and the server that ends without losing a request."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from cascade.api.auth import ServiceError

BACKLOG = 128  # connections that wait to be accepted
# between closing the listener and closing idle connections: a request that is on its way then is still answered
LINGER_SECONDS = 0.5
SETTLE_SECONDS = 0.2  # between the last client that is let in and closing the listener
SO_ATTACH_FILTER = 26  # include/uapi/asm-generic/socket.h, which Python's socket module leaves out
# (code, jump if true, jump if false, operand) of a classic BPF program: a packet with SYN and without ACK is dropped
DROP_SYN = [(0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)]


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
        """Close the listener first, once those who wait in it have a connection, and a moment later the idle ones."""
        for listener in [one.fileno() for server in self.servers for one in server.sockets]:
            refuse_new(listener)
        # the kernel resets what nobody has accepted when the listener closes, and asyncio drops what it has accepted
        # and not yet set up when its server does
        await asyncio.sleep(SETTLE_SECONDS)
        for server in self.servers:
            server.close()
        await asyncio.sleep(LINGER_SECONDS)
        await super().shutdown(sockets)


def refuse_new(listener: int) -> None:
    """Let no further client connect to a listening TCP socket, while those who wait in it are still accepted.

    A client that asks from now on is not answered; its kernel asks again after a second and is refused, once the
    listener is closed. Without it, a client can connect between the last look into the queue and the close, and is
    reset. Where the kernel knows no socket filters (https://docs.kernel.org/networking/filter.html), nothing changes.

    Args:
        listener: file descriptor.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in DROP_SYN))
    with suppress(OSError), socket.socket(fileno=os.dup(listener)) as one:
        one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(DROP_SYN), ctypes.addressof(program)))


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
