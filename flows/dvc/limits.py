"""Prefect's global concurrency limits: what runs on one machine may do at once. Set-up makes them; they are strict.

| limit | slots | who holds one |
|---|---|---|
| `gpu` | 1 | a stage of `orchestration.gpu_stages`; the evaluation of the champion |
| `dvc` | 1 | work on the checkout's DVC repository: the stages of a run in place, `dvc add` of the nightly mining |

A run in a tree of its own has a DVC repository of its own, so it holds no `dvc`. A slot is a lease: that of a holder
which was killed comes back within LEASE_SECONDS.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect import get_client
from prefect.concurrency.sync import concurrency

from tasks.common.environment import BY_WORKER

LIMITS = {"gpu": 1, "dvc": 1}
LEASE_SECONDS = 60.0
LOOK_SECONDS = 5.0


def make_limits() -> None:
    """Make the limits on the server where they are missing; a number of slots that a person has changed stays."""
    with get_client(sync_client=True) as client:
        there = {one.name for one in client.read_global_concurrency_limits(limit=200, offset=0)}
        for name, slots in LIMITS.items():
            if name not in there:
                client.upsert_global_concurrency_limit_by_name(name, slots)


def make_limits_by_hand() -> None:
    """Make them for a run that no worker has started: its server may be a temporary one, which nobody has set up."""
    if BY_WORKER not in os.environ:
        make_limits()


@contextmanager
def slot(name: str, ended: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold a slot of a limit; wait for one as long as the run goes on.

    Args:
        name: of the limit.
        ended: is asked while there is none; once it says so, the block runs without a slot and must end itself.

    Raises:
        ConcurrencySlotAcquisitionError: set-up has not made the limit.
    """
    while True:
        held = concurrency(
            name,
            timeout_seconds=LOOK_SECONDS,
            lease_duration=LEASE_SECONDS,
            strict=True,
            # a training of hours does not end for a server that is away for a moment
            raise_on_lease_renewal_failure=False,
        )
        try:
            held.__enter__()
            break
        except TimeoutError:
            if ended():
                yield
                return
    try:
        yield
    finally:
        held.__exit__(None, None, None)
