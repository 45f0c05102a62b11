"""Objects that TensorRT's builder calls: a logger and a progress monitor; their base classes exist at run time only."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)


def error_logger() -> Any:
    """Give a logger that keeps errors in `errors`, for an exception, and passes warnings on to `logging`."""
    import tensorrt

    class Logger(tensorrt.ILogger):  # type: ignore[misc]  # known at run time only
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if int(severity) <= int(tensorrt.ILogger.Severity.ERROR):
                self.errors.append(msg.strip())
            elif int(severity) == int(tensorrt.ILogger.Severity.WARNING):
                log.warning("TensorRT: %s", msg.strip())

    return Logger()


def progress_monitor() -> Any:
    """Give a monitor that shows the builder's outermost phase as a progress bar; there are hundreds of inner ones."""
    import tensorrt
    from tqdm import tqdm

    class Monitor(tensorrt.IProgressMonitor):  # type: ignore[misc]  # known at run time only
        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)
            self.bars: dict[str, Any] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self.bars[phase_name] = tqdm(total=num_steps, desc=phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self.bars:
                self.bars[phase_name].update(1)
            return True

        def phase_finish(self, phase_name: str) -> None:
            if phase_name in self.bars:
                self.bars.pop(phase_name).close()

    return Monitor()
