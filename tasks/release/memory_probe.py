"""Memory of a classifier; `tasks.release.gate.cost` measures it in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade.engines.base import device_of
from cascade.engines.classifier import ClassifierEngine, load_engine
from cascade.process.memory import Meter
from cascade.release.store import read_classifier


def open_classifier(folder: Path) -> ClassifierEngine:
    """Load the classifier of a release's folder as the service does.

    Raises:
        cascade.engines.base.EngineError: it cannot be loaded.
    """
    settings = read_classifier(folder)
    return load_engine(folder, settings.engine, settings.precision, settings.threads)


def noise_image(engine: ClassifierEngine) -> NDArray[np.uint8]:
    """One image of noise, as the engine takes it: (1, size, size, 3)."""
    return np.random.default_rng(0).integers(0, 256, (1, *engine.contract.input.shape[1:]), dtype=np.uint8)


def memory_of(folder: Path) -> int:
    """Bytes that loading the classifier of a folder and one call add to this process, its library included.

    Of an engine on a card, what it takes there counts besides.
    """
    devices = {"cpu", device_of(read_classifier(folder).engine)}
    meters = [Meter(device) for device in sorted(devices)]
    engine = open_classifier(folder)
    engine.run(noise_image(engine))
    taken = sum(meter.taken() for meter in meters)
    engine.close()
    return taken
