"""Tests of the listening socket."""

from __future__ import annotations

import select
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from cascade.api.server import listen, refuse_new


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_no_client_gets_in_between_the_last_look_and_the_close(host: str) -> None:
    with listen(host, 0) as listener, ThreadPoolExecutor(1) as pool:
        waiting = socket.create_connection(listener.getsockname()[:2])
        waiting.sendall(b"before")
        refuse_new(listener.fileno())
        late = pool.submit(socket.create_connection, listener.getsockname()[:2], 10)
        # who waited is accepted, and their connection goes on
        accepted = listener.accept()[0]
        waiting.sendall(b" and after")
        assert accepted.recv(6) + accepted.recv(10) == b"before and after"
        # the late one is not connected: not in half a second, in which loopback connects 10,000 times
        assert select.select([listener], [], [], 0.5)[0] == []
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            late.result()
        waiting.close()
        accepted.close()
