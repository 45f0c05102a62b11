"""The engine `ray`: items through Ray Data, one worker an actor.

Ray Data streams: an actor has two items, its results wait in the object store until the caller takes them, and a full
store holds the actors back. What a lost worker had in hand is done again by another one. Results come in the order of
the items. Only this module imports Ray, and nobody imports it before an item goes to Ray.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cascade.extras import require
from tasks.config.scale import ScaleParams
from tasks.scale.errors import ScaleError

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.scale.engine import Item, Make, Result, Work

# nothing is reported to Ray's makers; and `uv run` as the parent must not have each actor install an environment
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
# an item is an object for Ray; models are loaded again for each wave
WAVE = 10_000
IN_FLIGHT = 2
CONNECT_SECONDS = 10
ITEM, RESULT = "item", "result"


@dataclass(frozen=True)
class Raised:
    """What a worker raised, on its way to the caller: Ray would wrap it, and the type be lost."""

    error: Exception


class Actor:
    """One worker in a process of Ray."""

    def __init__(self, make: Make[Any, Any]) -> None:
        self._open = ExitStack()
        self._work: Work[Any, Any]
        try:
            self._work = self._open.enter_context(make())
        except Exception as error:
            self._work = partial(_refuse, error)

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Work on an item, and give each of its results as soon as it is there."""
        import pyarrow as pa

        for item in batch[ITEM].to_pylist():
            for result in self._guarded(item):
                yield pa.table({RESULT: pa.array([pickle.dumps(result)], pa.large_binary())})

    def _guarded(self, item: bytes) -> Iterator[Any]:
        try:
            yield from self._work(pickle.loads(item))  # noqa: S301 - of our own driver
        except Exception as error:
            yield Raised(error)


def _refuse(error: Exception, _: object) -> Iterator[Any]:
    raise error


def run_on_ray(params: ScaleParams, make: Make[Item, Result], items: Sequence[Item]) -> Iterator[Result]:
    """See `tasks.scale.engine.run_items`."""
    require("scale.engine: ray", "ray")
    os.environ.update({name: value for name, value in SETTINGS.items() if name not in os.environ})
    _reach(params.address)
    import ray

    with _connected(params), _context():
        actors = _actors(params, ray.nodes())
        try:
            for start in range(0, len(items), WAVE):
                yield from _stream(params, make, items[start : start + WAVE], actors)
        except ray.exceptions.RayError as error:
            raise ScaleError(f"Ray gave up: {_last_line(error)}") from error


def _stream(params: ScaleParams, make: Make[Item, Result], items: Sequence[Item], actors: int) -> Iterator[Result]:
    import ray.data

    rows = [{ITEM: pickle.dumps(item)} for item in items]
    pool = ray.data.ActorPoolStrategy(
        min_size=1,
        max_size=min(actors, len(items)),
        initial_size=min(actors, len(items)),
        max_tasks_in_flight_per_actor=IN_FLIGHT,
    )
    results = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Actor,
        fn_constructor_args=(make,),
        batch_size=1,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=params.cpus,
        num_gpus=params.gpus or None,
    )
    for row in results.iter_rows():
        result = pickle.loads(row[RESULT])  # noqa: S301 - of our own actors
        if isinstance(result, Raised):
            raise result.error
        yield result


def _reach(address: str | None) -> None:
    """Knock at a cluster's door: Ray would wait for minutes where nobody opens.

    Raises:
        ScaleError: nobody does.
    """
    host, _, port = (address or "").rpartition("//")[2].rpartition(":")
    if not host:
        # of this machine, which Ray finds at once or not at all
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ScaleError(f"scale.address {address}: no Ray cluster answers there: {error}") from None


@contextmanager
def _connected(params: ScaleParams) -> Iterator[None]:
    """Connect to the cluster, or start one on this machine; a connection of the caller's is used and kept."""
    import ray

    if ray.is_initialized():
        yield
        return
    own = {} if params.address else {"include_dashboard": False}
    where = f"scale.address {params.address}" if params.address else "Ray on this machine"
    try:
        ray.init(params.address or "local", logging_level="WARNING", **own)
    except Exception as error:
        # Ray has no type of its own for this: RuntimeError, ConnectionError, ValueError, and Exception itself
        raise ScaleError(f"{where}: no cluster answers, or it cannot start: {_last_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _context() -> Iterator[None]:
    """Settings of Ray Data for one run."""
    from ray.data import DataContext

    before = DataContext.get_current()
    own = before.copy()
    own.execution_options.preserve_order = True
    own.enable_progress_bars = own.print_on_execution_start = False
    # each result is a block of its own, so that it is handed on while the item goes on
    own.target_max_block_size = 1
    # it says that there are no bars, and when a run begins and ends
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    DataContext._set_current(own)
    try:
        yield
    finally:
        DataContext._set_current(before)


def _actors(params: ScaleParams, nodes: Sequence[Mapping[str, Any]]) -> int:
    """How many actors there will be.

    Raises:
        ScaleError: no node has room for one.
    """
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    room = sum(_room(params, one) for one in resources)
    if not room:
        has = "; ".join(f"{one.get('CPU', 0):g} CPU, {one.get('GPU', 0):g} GPU" for one in resources)
        wants = f"scale.cpus {params.cpus:g}, scale.gpus {params.gpus:g}"
        raise ScaleError(f"no node of the Ray cluster has room for one actor ({wants}); there are {has}")
    return room if params.actors == "auto" else min(params.actors, room)


def _room(params: ScaleParams, resources: Mapping[str, float]) -> int:
    cpus = int(resources.get("CPU", 0) / params.cpus)
    return min(cpus, int(resources.get("GPU", 0) / params.gpus)) if params.gpus else cpus


def _last_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
