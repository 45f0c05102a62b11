"""A double of torch.cuda whose graphs are captured and replayed on the processor.

A capture notes the operations that reach torch's dispatcher. A replay runs them again on the memory of the capture, as
a card does: outputs are overwritten in place, nothing that Python computed in between is computed again, and what was
not made within the capture is not kept alive by it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

if TYPE_CHECKING:
    import pytest

# a number read back from the card ends a capture
READS = ("aten._local_scalar_dense", "aten.nonzero", "aten.is_nonzero", "aten.equal")


class FakeStream:
    """A stream; there is but one order on a processor."""

    def wait_stream(self, _: FakeStream) -> None:
        """Do nothing: everything before has ended."""


class FakeGraph:
    """What was captured: operation, arguments and results, each result by its number."""

    def __init__(self) -> None:
        self.steps: list[tuple[Any, Any, Any, list[int], list[bool]]] = []
        # memory of the graph itself; views are made anew
        self.kept: dict[int, Tensor] = {}
        self.replays = 0

    def replay(self) -> None:
        """Run everything again, into the memory of the capture."""
        self.replays += 1
        values: dict[int, Tensor] = dict(self.kept)

        def resolve(one: Any) -> Any:
            if isinstance(one, _Number):
                return values[one]
            if isinstance(one, weakref.ref):
                found = one()
                if found is None:
                    raise RuntimeError("illegal memory access: a tensor from outside of the capture was freed")
                return found
            return one

        for function, given, named, numbers, views in self.steps:
            found = tree_flatten(function(*tree_map(resolve, given), **tree_map(resolve, named)))[0]
            made = [one for one in found if isinstance(one, Tensor)]
            for number, is_view, value in zip(numbers, views, made, strict=True):
                if is_view:
                    values[number] = value
                else:
                    self.kept[number].copy_(value)


class _Number(int):
    """The number of a result, told from a plain integer."""


class _Recorder(TorchDispatchMode):
    def __init__(self, graph: FakeGraph) -> None:
        super().__init__()
        self._graph = graph
        self._known: dict[int, int] = {}
        # so that no id is used twice
        self._alive: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if str(func).startswith(READS):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        found = func(*args, **kwargs)
        made = [one for one in tree_flatten(found)[0] if isinstance(one, Tensor)]
        given = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
        places = {one.untyped_storage().data_ptr() for one in given}
        numbers, views = [], []
        step = (func, tree_map(self._noted, args), tree_map(self._noted, kwargs), numbers, views)
        for one in made:
            numbers.append(len(self._alive))
            views.append(one.untyped_storage().data_ptr() in places)
            if not views[-1]:
                self._graph.kept[numbers[-1]] = one
            self._known[id(one)] = numbers[-1]
            self._alive.append(one)
        self._graph.steps.append(step)
        return found

    def _noted(self, one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        return _Number(self._known[id(one)]) if id(one) in self._known else weakref.ref(one)


class FakeCuda:
    """The module.

    Args:
        available: whether there is a card.
    """

    CUDAGraph, Stream = FakeGraph, FakeStream

    def __init__(self, *, available: bool = True) -> None:
        self.available, self.calls = available, list[str]()
        self.graphs: list[FakeGraph] = []

    def is_available(self) -> bool:
        """Whether there is a card."""
        return self.available

    def current_stream(self) -> FakeStream:
        """Give a stream."""
        return FakeStream()

    def stream(self, _: FakeStream) -> Any:
        """Work on a stream for the length of a block."""
        return nullcontext()

    def graph_pool_handle(self) -> tuple[int, int]:
        """Give the handle of a memory pool."""
        return (0, 1)

    def empty_cache(self) -> None:
        """Note the call."""
        self.calls.append("empty_cache")

    @contextmanager
    def graph(self, graph: FakeGraph, *, pool: Any, stream: FakeStream, capture_error_mode: str) -> Iterator[None]:
        """Capture what a block computes."""
        assert capture_error_mode in ("global", "thread_local", "relaxed")
        self.graphs.append(graph)
        with _Recorder(graph):
            yield


def run_on_a_double(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """Let the steps verify, and the runtime load, CUDA graphs of the double."""
    import cascade.engines.torch_cuda as runtime

    double = FakeCuda()
    session = partial(runtime.TorchCudaSession, device="cpu", cuda=double)
    monkeypatch.setattr(runtime, "TorchCudaSession", session)
    return double
