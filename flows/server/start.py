"""Prefect's server of a run that brings its own: it comes up while the run does something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from threading import Thread

from prefect import get_client


@contextmanager
def server_starting() -> Iterator[None]:
    """Start the server beside the block, and wait for it after the block; with PREFECT_API_URL set there is none.

    The thread is a daemon, so that an error of the block ends the process at once; the server ends with the process.

    Raises:
        Exception: what Prefect says where its server does not start.
    """
    errors: list[Exception] = []

    def start() -> None:
        try:
            with get_client(sync_client=True):
                pass
        except Exception as error:
            errors.append(error)

    starting = Thread(target=copy_context().run, args=(start,), name="prefect-server", daemon=True)
    starting.start()
    yield
    starting.join()
    if errors:
        raise errors[0]
