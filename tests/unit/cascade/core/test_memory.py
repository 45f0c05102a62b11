"""Memory: what cannot fit is refused, nothing in use leaves, and no mix of threads passes the limit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cascade.core.measured_sizes import MeasuredSizes
from cascade.core.memory import GIB, LoadError, MemoryLimitError, MemoryManager
from cascade.stages.base import StageResult


class Ledger:
    """What is really loaded, and the most there ever was."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        with self._lock:
            self.now += size
            self.most = max(self.most, self.now)


class Weight:
    """A stage of a given size, which notes when it is used without being loaded."""

    def __init__(self, name: str, size: int, ledger: Ledger | None = None, failures: int = 0) -> None:
        self.name, self.size, self.memory_bytes = name, size, 0
        self.ledger, self.failures = ledger or Ledger(), failures
        self.is_loaded, self.loads = False, 0

    def load(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("weights/model.safetensors: no such file")
        assert not self.is_loaded
        self.ledger.add(self.size)
        self.is_loaded, self.memory_bytes, self.loads = True, self.size, self.loads + 1

    def unload(self) -> None:
        assert self.is_loaded
        self.is_loaded = False
        self.ledger.add(-self.size)

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        raise NotImplementedError


def budget(limit: int, *stages: tuple[Weight, int], pinned: str = "", **options: object) -> MemoryManager:
    made = MemoryManager(limit, **options)  # type: ignore[arg-type]
    for stage, estimate in stages:
        made.add(stage, estimate, pinned=stage.name == pinned)
    return made


def test_a_profile_that_cannot_fit_is_refused() -> None:
    made = budget(24 * GIB, (Weight("classifier", GIB), GIB), (Weight("vlm", 40 * GIB), 40 * GIB), pinned="classifier")
    with pytest.raises(MemoryLimitError, match=r"vlm needs 41\.0 GiB of RAM .* of 24\.0; raise memory\.ram_gib"):
        made.check()
    with pytest.raises(MemoryLimitError, match="vlm needs"), made.use("vlm"):
        pass


def test_the_least_recently_used_leaves_and_the_pinned_stays() -> None:
    stages = [Weight(name, 4) for name in ("classifier", "detectors", "vlm", "ocr")]
    made = budget(12, *((stage, 4) for stage in stages), pinned="classifier")
    for name in ("classifier", "detectors", "vlm", "detectors", "ocr"):
        with made.use(name):
            pass
    assert made.loaded() == ["classifier", "detectors", "ocr"]
    assert [stage.loads for stage in stages] == [1, 1, 1, 1]


def test_a_stage_in_use_is_never_evicted() -> None:
    first, second = Weight("detectors", 8), Weight("vlm", 8)
    made = budget(12, (first, 8), (second, 8))
    with made.use("detectors"):
        with pytest.raises(MemoryLimitError, match="no RAM became free in time"), made.use("vlm", seconds=0.02):
            pass
        assert first.is_loaded
    with made.use("vlm", seconds=1):
        assert not first.is_loaded


def test_waiting_ends_when_memory_becomes_free() -> None:
    made = budget(12, (Weight("detectors", 8), 8), (Weight("vlm", 8), 8))
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with made.use("detectors"):
            holding.set()
            done.wait(10)

    with ThreadPoolExecutor(2) as pool:
        pool.submit(hold)
        assert holding.wait(10)
        waiting = pool.submit(lambda: made.use("vlm", seconds=10).__enter__().name)
        done.set()
        assert waiting.result(10) == "vlm"


def test_one_that_is_larger_than_said_leaves_and_its_size_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "var" / "sizes.json"
    vlm = Weight("vlm", 20)
    made = budget(12, (vlm, 1), sizes=MeasuredSizes(path), prefix="abc/")
    with pytest.raises(MemoryLimitError, match="vlm needs"), made.use("vlm"):
        pass
    assert not vlm.is_loaded
    assert made.used == 0
    assert MeasuredSizes(path).read() == {"abc/vlm": 20}
    # the next start knows, and refuses before anything is loaded
    with pytest.raises(MemoryLimitError, match="vlm needs"):
        budget(12, (Weight("vlm", 20), 1), sizes=MeasuredSizes(path), prefix="abc/").check()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": "x", "b": -1}'])
def test_damaged_measurements_count_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "sizes.json").write_text(content)
    assert MeasuredSizes(tmp_path / "sizes.json").read() == {}


def test_a_failed_load_is_not_tried_again_at_once() -> None:
    now = [0.0]
    vlm = Weight("vlm", 4, failures=1)
    made = budget(12, (vlm, 4), retry_seconds=60, clock=lambda: now[0])
    for _ in range(2):
        with pytest.raises(LoadError, match=r"cannot be loaded: weights/model\.safetensors"), made.use("vlm"):
            pass
    assert made.used == 0
    now[0] = 61
    with made.use("vlm"):
        assert vlm.is_loaded


def test_close_unloads_all() -> None:
    stages = [Weight(name, 4) for name in ("classifier", "vlm")]
    made = budget(12, *((stage, 4) for stage in stages), pinned="classifier")
    for stage in stages:
        with made.use(stage.name):
            pass
    made.close()
    assert not any(stage.is_loaded for stage in stages)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 10), min_size=2, max_size=4),
    limit=st.integers(10, 22),
    wanted=st.lists(st.integers(0, 3), min_size=4, max_size=24),
    threads=st.integers(1, 6),
    failures=st.integers(0, 2),
)
def test_no_mix_of_requests_passes_the_limit(
    sizes: list[int], limit: int, wanted: list[int], threads: int, failures: int
) -> None:
    ledger = Ledger()
    stages = [Weight(f"stage {index}", size, ledger, failures) for index, size in enumerate(sizes)]
    made = budget(limit, *((stage, stage.size) for stage in stages), retry_seconds=0)

    def ask(index: int) -> bool:
        stage = stages[index % len(stages)]
        try:
            with made.use(stage.name, seconds=20):
                # loaded at the start and at the end: nobody took it away meanwhile
                loaded = stage.is_loaded and made.used <= limit
                threading.Event().wait(0.0005)
                return loaded and stage.is_loaded
        except LoadError:
            return True

    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(ask, wanted))
    assert ledger.most <= limit
    assert made.used == ledger.now
    made.close()
    assert ledger.now == 0
