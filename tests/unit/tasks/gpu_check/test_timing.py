"""Timed calls, and CUDA graphs against a stand-in for torch's."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.gpu_check import timing
from tasks.gpu_check.work import PHASE, CheckFailedError, Work


def work(folder: Path, device: str = "cpu") -> Work:
    return Work(None, device, True, folder)  # type: ignore[arg-type]


def mean(pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return (pixels.float().mean(dim=(1, 2, 3)),)


def test_an_answer_that_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match="not finite"):
        timing.scan(work(tmp_path), lambda x: (mean(x)[0] / 0,), timing.random_pixels(4), [1])
    assert "1 pictures a call" in (tmp_path / PHASE).read_text()


def test_all_sizes_are_timed(tmp_path: Path) -> None:
    seen: list[int] = []

    def forward(pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append(len(pixels))
        return mean(pixels)

    found = timing.scan(work(tmp_path), forward, timing.random_pixels(4), [1, 3])
    assert set(found) == {1, 3} == set(seen)
    assert all(ms > 0 for ms in found.values())


@pytest.mark.parametrize(
    ("most", "wanted", "sizes"), [(1, (), [1]), (2, (2,), [1, 2]), (16, (8, 5), [1, 2, 4, 5, 8, 16])]
)
def test_sizes_of_calls(most: int, wanted: tuple[int, ...], sizes: list[int]) -> None:
    assert timing.doubled(most, *wanted) == sizes


def test_a_call_that_takes_too_long_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(timing, "TOO_LONG", 0.0)
    timing.milliseconds(lambda: calls.append(1))
    assert len(calls) == 1


def test_without_a_card_there_is_no_graph(tmp_path: Path) -> None:
    assert timing.scan_graphs(work(tmp_path), mean, timing.random_pixels(4), [1]) == ({}, "")


class Stand:
    """Stands for torch.cuda: a graph remembers the answers' storage and computes into it again when it is replayed."""

    def __init__(self, forward: Any, *, fails: str = "", wrong: bool = False) -> None:
        self.forward, self.fails, self.wrong = forward, fails, wrong
        self.captured: list[Any] = []
        self.held: Any = None

    def computed(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What stands for the model: while a graph is captured, its input and answers are remembered."""
        answers = self.forward(pixels)
        if self.captured == ["open"]:
            self.captured[:] = [pixels, answers]
        return answers

    def CUDAGraph(self) -> Any:
        return self

    def replay(self) -> None:
        pixels, answers = self.captured
        for old, new in zip(answers, self.forward(pixels), strict=True):
            old.copy_(new + (1 if self.wrong else 0))

    def graph(self, graph: Any) -> Any:
        if self.fails:
            raise RuntimeError(self.fails)
        self.captured[:] = ["open"]
        return nullcontext()

    def Stream(self) -> Any:
        return self

    def current_stream(self) -> Any:
        return self

    def stream(self, stream: Any) -> Any:
        return nullcontext()

    def wait_stream(self, stream: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("given", "sizes", "words"),
    [
        ({}, {1, 2}, ""),
        # an operation that cannot be captured
        (
            {"fails": "operation not permitted when stream is capturing"},
            set(),
            "no CUDA graph: operation not permitted",
        ),
        # what is replayed is not what was computed
        ({"wrong": True}, set(), "answers otherwise"),
    ],
)
def test_graphs(
    given: dict[str, Any], sizes: set[int], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = Stand(mean, **given)
    for name in ("CUDAGraph", "graph", "Stream", "current_stream", "stream"):
        monkeypatch.setattr(torch.cuda, name, getattr(stand, name))
    # pictures stay where they are
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_: self)
    found, note = timing.scan_graphs(work(tmp_path, "cuda"), stand.computed, timing.random_pixels(4), [1, 2])
    assert (set(found), words in note) == (sizes, True)


def test_a_replay_reads_the_new_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(mean)
    for name in ("CUDAGraph", "graph", "Stream", "current_stream", "stream"):
        monkeypatch.setattr(torch.cuda, name, getattr(stand, name))
    first, second = (torch.full((1, 4, 4, 3), value, dtype=torch.uint8) for value in (10, 200))
    replay = timing.capture(stand.computed, first)
    assert float(replay(second)[0]) == 200
    assert float(replay(first)[0]) == 10
