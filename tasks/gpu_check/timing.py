"""Milliseconds a call, by pictures a call, and as a CUDA graph. Import this only where torch is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from statistics import median
from typing import Any

import torch

from tasks.gpu_check.work import CheckFailedError, Work

Forward = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]
SECONDS = 0.5  # of timed calls of one size
ROUNDS = 20
WARM_UP = 2
TOO_LONG = 4.0  # s: a call that takes longer is not repeated
WARM_UP_OF_GRAPH = 3
SAME = 0.05  # largest difference of a graph's answers, in bf16


def milliseconds(call: Callable[[], Any]) -> float:
    """Median of timed calls after two that warm up; `call` returns when its answer is on the host."""
    for _ in range(WARM_UP):
        first = _seconds(call)
        if first > TOO_LONG:
            return 1000 * first
    spent: list[float] = []
    while not spent or (sum(spent) < SECONDS and len(spent) < ROUNDS):
        spent.append(_seconds(call))
    return 1000 * median(spent)


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def scan(work: Work, forward: Forward, pixels: Callable[[int], torch.Tensor], sizes: Iterable[int]) -> dict[int, float]:
    """Time calls of several sizes, from uint8 pictures on the host to answers on the host.

    Args:
        work: the check's.
        forward: from pictures on the device to answers.
        pixels: makes n pictures on the host.
        sizes: pictures a call.

    Returns:
        Milliseconds by size.

    Raises:
        CheckFailedError: an answer is not finite.
    """
    found: dict[int, float] = {}
    for size in sizes:
        work.phase(f"{size} pictures a call")
        batch = pixels(size)
        call = partial(_answered, forward, batch, work.device)
        _check_finite(call())
        found[size] = milliseconds(call)
    return found


def _answered(forward: Forward, batch: torch.Tensor, device: str) -> list[torch.Tensor]:
    """From pictures on the host to answers on the host."""
    return [part.cpu() for part in forward(batch.to(device))]


def scan_graphs(
    work: Work, forward: Forward, pixels: Callable[[int], torch.Tensor], sizes: Iterable[int]
) -> tuple[dict[int, float], str]:
    """The same as CUDA graphs, each of which must give the answers of the plain call; and why one was not captured."""
    found: dict[int, float] = {}
    if work.device != "cuda":
        return found, ""
    for size in sizes:
        work.phase(f"CUDA graph of {size} pictures")
        batch = pixels(size)
        try:
            plain = _answered(forward, batch, work.device)
            replay = capture(forward, batch.to(work.device))
            if any((one.cpu() - other).abs().max() > SAME for one, other in zip(replay(batch), plain, strict=True)):
                return found, f"the CUDA graph of {size} pictures answers otherwise than the plain call"
        except RuntimeError as error:
            return found, f"no CUDA graph: {' '.join(str(error).split())[:120]}"
        found[size] = milliseconds(partial(_answered, replay, batch, "cpu"))
    return found, ""


def capture(forward: Forward, example: torch.Tensor) -> Forward:
    """Capture a call as a CUDA graph for pictures of the example's shape, as torch's notes on CUDA graphs do it."""
    held = example.clone()
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UP_OF_GRAPH):
            forward(held)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answers = forward(held)

    def replay(pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        held.copy_(pixels)
        graph.replay()
        return answers

    return replay


def half(work: Work) -> AbstractContextManager[Any]:
    """bf16 on a card; casts of weights are not kept, since a captured graph must make its own."""
    if work.device != "cuda":
        return nullcontext()
    made: AbstractContextManager[Any] = torch.autocast("cuda", torch.bfloat16, cache_enabled=False)
    return made


def random_pixels(size: int) -> Callable[[int], torch.Tensor]:
    """Make pictures of noise, uint8 (n, size, size, 3), on the host."""
    generator = torch.Generator().manual_seed(0)
    return lambda count: torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)


def doubled(most: int, *wanted: int) -> list[int]:
    """1, 2, 4, ... up to `most`, and the sizes that a claim is about."""
    return sorted({1, *wanted, *(1 << power for power in range(most.bit_length()) if 1 << power <= most)})


def _check_finite(answers: list[torch.Tensor]) -> None:
    if not all(bool(torch.isfinite(part).all()) for part in answers):
        raise CheckFailedError("an answer is not finite")
