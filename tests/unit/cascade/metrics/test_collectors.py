"""What is read at a scrape: units of a GPU, and a service that goes on without one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cascade.config import MemoryParams
from cascade.core.cascade import Cascade
from cascade.metrics.collectors import GpuCollector, StageCollector
from cascade.stages.classifier import ClassifierStage
from tests.support import tiny


class NvmlError(Exception):
    """What the library raises."""


def nvml(**changes: Any) -> SimpleNamespace:
    """NVML's functions over two GPUs, with the units of its reference: no GPU is at hand where these tests run."""
    given = {
        "NVMLError": NvmlError,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=6_000_000_000, total=24_000_000_000),
        "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=37),
        "nvmlDeviceGetTemperature": lambda handle, _: 61 + handle,
    }
    return SimpleNamespace(**{**given, **changes})


def collected() -> dict[tuple[str, ...], float]:
    samples = [one for family in GpuCollector().collect() for one in family.samples]
    return {(one.name, one.labels["device"]): one.value for one in samples}


def test_units_are_bytes_degrees_and_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    found = collected()
    assert found["streetvision_gpu_device_memory_used_bytes", "0"] == 6e9
    assert found["streetvision_gpu_temperature_celsius", "1"] == 62
    assert found["streetvision_gpu_utilization_ratio", "1"] == pytest.approx(0.37)


def test_a_gpu_that_is_lost_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def temperature(handle: int, _: int) -> int:
        if handle == 1:
            raise NvmlError
        return 60

    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlDeviceGetTemperature=temperature))
    assert {device for _, device in collected()} == {"0"}


@pytest.mark.parametrize("module", [None, nvml(nvmlInit=lambda: (_ for _ in ()).throw(NvmlError))])
def test_without_a_driver_there_are_no_series(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert collected() == {}


class OnCard:
    """A stage that is booked on a card; where it computes is known once it is loaded."""

    name, memory_bytes, device, precision = "vlm", 5, "cuda", "awq int4"

    def __init__(self, runs_on: str) -> None:
        self.runs_on = runs_on

    def load(self) -> None:
        pass

    def unload(self) -> None:
        pass


@pytest.mark.parametrize(
    ("gpu_stages", "vlm_on", "off"),
    [
        # a profile without a card misses none
        ((), "cuda", {"classifier": 0.0, "vlm": 0.0}),
        (("vlm",), "cuda", {"classifier": 0.0, "vlm": 0.0}),
        # set to the processor
        (("classifier", "vlm"), "cuda", {"classifier": 1.0, "vlm": 0.0}),
        # set to the card, and measured on the processor
        (("classifier", "vlm"), "cpu", {"classifier": 1.0, "vlm": 1.0}),
    ],
)
def test_each_stage_says_what_it_computes_on(
    tmp_path: Path, gpu_stages: tuple[str, ...], vlm_on: str, off: dict[str, float]
) -> None:
    release = tiny.write_release(tmp_path)
    stages: Any = [ClassifierStage(release), OnCard(vlm_on)]
    cascade = Cascade(release, MemoryParams(gpu_gib=1), stages=stages).load(ahead=False)
    info, missing = StageCollector(cascade, gpu_stages).collect()
    # one that is not loaded has nothing to say
    assert [one.labels for one in info.samples] == [{"stage": "classifier", "device": "cpu", "precision": "fp32"}]
    assert {one.labels["stage"]: one.value for one in missing.samples} == off
    with cascade._executor._memory["GPU memory"].use("vlm"):
        info, _ = StageCollector(cascade, gpu_stages).collect()
    assert {"stage": "vlm", "device": vlm_on, "precision": "awq int4"} in [one.labels for one in info.samples]
    cascade.close()
