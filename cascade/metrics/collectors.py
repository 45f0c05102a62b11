"""Series that are read when somebody asks for them: decoders, memory, GPUs, queues, the inbox."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cascade.core.cascade import Cascade
from cascade.decoding.pool import Decoders
from cascade.decoding.process import ENDED
from cascade.inbox.inbox import Inbox
from cascade.metrics.series import SERVICE, by_name
from cascade.process.memory import available_bytes
from cascade.stages.base import runs_on

TABLE = by_name(SERVICE)
INBOX_OUTCOMES = ("kept", "passed", "duplicate", "dropped", "refused", "failed")
log = logging.getLogger("streetvision")


def _family(name: str, samples: Mapping[Any, float]) -> Any:
    """Fill a family of the table with values by tuples of label values."""
    family = TABLE[name].family()
    for labels, value in samples.items():
        family.add_metric(list(labels), value)
    return family


class DecoderCollector:
    """Decoding processes by lane, pictures or clips."""

    def __init__(self, decoders: Decoders) -> None:
        self._decoders = decoders

    def collect(self) -> Iterator[Any]:
        """Give how many there may be, how many are at work, and how many were ended and why."""
        lanes = self._decoders.lanes
        yield _family("streetvision_decoders", {(name,): lane.size for name, lane in lanes.items()})
        yield _family("streetvision_decoders_busy", {(name,): lane.busy for name, lane in lanes.items()})
        ended = {(name, reason): lane.ended[reason] for name, lane in lanes.items() for reason in ENDED}
        yield _family("streetvision_decoders_ended_total", ended)


class MemoryCollector:
    """Memory of the stages that are loaded at this moment, by kind of memory."""

    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade

    def collect(self) -> Iterator[Any]:
        """Give what each stage takes, the limit of all, and what the machine has left."""
        # the executor keeps its memory managers to itself
        managers = self._cascade._executor._memory
        for kind, prefix in (("RAM", "streetvision_host_memory"), ("GPU memory", "streetvision_gpu_memory")):
            manager = managers[kind]
            loaded = manager.loaded()
            used = {(name,): one.size * (name in loaded) for name, one in manager._residents.items()}
            yield _family(f"{prefix}_used_bytes", used)
            yield _family(f"{prefix}_limit_bytes", {(): manager.limit})
        yield _family("streetvision_host_memory_available_bytes", {(): available_bytes()})


class StageCollector:
    """What the loaded stages compute on and in, by their own account.

    Args:
        cascade: of the service.
        gpu_stages: `memory.gpu_stages`: those that belong on the GPU.
    """

    def __init__(self, cascade: Cascade, gpu_stages: Collection[str]) -> None:
        self._cascade, self._wanted = cascade, frozenset(gpu_stages)

    def collect(self) -> Iterator[Any]:
        """Give device and precision of the stages that are loaded, and which of all are not where they belong."""
        loaded = {name for manager in self._cascade._executor._memory.values() for name in manager.loaded()}
        stages = {stage.name: stage for stage in self._cascade.stages}
        seen = {
            (name, runs_on(stage), str(getattr(stage, "precision", None) or "")): 1.0
            for name, stage in stages.items()
            if name in loaded
        }
        yield _family("streetvision_stage_device_info", seen)
        off = {(name,): float(name in self._wanted and runs_on(stage) == "cpu") for name, stage in stages.items()}
        yield _family("streetvision_stage_off_gpu", off)


class QueueCollector:
    """Requests that wait for a worker thread."""

    def __init__(self, lanes: Mapping[str, ThreadPoolExecutor]) -> None:
        self._lanes = lanes

    def collect(self) -> Iterator[Any]:
        """Give the length of each line; the standard library has no public name for it."""
        waiting = {(name,): threads._work_queue.qsize() for name, threads in self._lanes.items()}
        yield _family("streetvision_requests_queued", waiting)


class InboxCollector:
    """What became of the pictures that were offered for mining."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def collect(self) -> Iterator[Any]:
        """Give all outcomes, those that did not happen yet as 0."""
        counts = {(outcome,): self._inbox.counts[outcome] for outcome in INBOX_OUTCOMES}
        yield _family("streetvision_inbox_pictures_total", counts)


class GpuCollector:
    """NVIDIA GPUs by NVML, which sees all programs on them; without NVML there are no series.

    Source: NVML API reference, nvmlDeviceGetMemoryInfo (bytes), nvmlDeviceGetUtilizationRates (percent).
    """

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: dict[str, Any] = {}
        try:
            import pynvml

            pynvml.nvmlInit()
            for index in range(pynvml.nvmlDeviceGetCount()):
                self._handles[str(index)] = pynvml.nvmlDeviceGetHandleByIndex(index)
            self._nvml = pynvml
        except Exception as error:
            # no package, no driver, or no right to ask it: a service without GPU is served all the same
            log.debug("no GPU series: %s", error)

    def collect(self) -> Iterator[Any]:
        """Give memory, temperature and load of each GPU; one that fails to answer is left out."""
        samples: dict[str, dict[tuple[str, ...], float]] = {}
        for device, handle in self._handles.items():
            for name, value in self._read(handle).items():
                samples.setdefault(name, {})[(device,)] = value
        for name, values in samples.items():
            yield _family(name, values)

    def _read(self, handle: Any) -> dict[str, float]:
        nvml = self._nvml
        try:
            memory, load = nvml.nvmlDeviceGetMemoryInfo(handle), nvml.nvmlDeviceGetUtilizationRates(handle)
            celsius = nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
        except nvml.NVMLError as error:
            log.debug("a GPU does not answer: %s", error)
            return {}
        return {
            "streetvision_gpu_device_memory_used_bytes": memory.used,
            "streetvision_gpu_device_memory_size_bytes": memory.total,
            "streetvision_gpu_temperature_celsius": celsius,
            "streetvision_gpu_utilization_ratio": load.gpu / 100,
        }
