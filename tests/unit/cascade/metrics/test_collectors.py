"""What is read at a scrape: units of a GPU, and a service that goes on without one."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from cascade.metrics.collectors import GpuCollector


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
