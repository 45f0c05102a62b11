"""What the service and the command line read of `params.yaml`: their own sections and no others."""

from __future__ import annotations

from pathlib import Path

from cascade.config.base import PARAMS_FILE, Section, read_sections, validated
from cascade.config.cache import CacheParams
from cascade.config.clips import ClipParams
from cascade.config.inbox import InboxParams
from cascade.config.memory import MemoryParams
from cascade.config.serve import ServeParams
from cascade.config.timeouts import TimeoutParams


class RuntimeParams(Section):
    """The sections of the runtime. Without an inbox no picture is kept."""

    serve: ServeParams
    memory: MemoryParams = MemoryParams()
    timeouts: TimeoutParams = TimeoutParams()
    clips: ClipParams = ClipParams()
    cache: CacheParams = CacheParams()
    inbox: InboxParams | None = None


def load_runtime_params(path: Path = PARAMS_FILE) -> RuntimeParams:
    """Read and check the runtime's sections; what other sections hold keeps no service from starting.

    Raises:
        ConfigError: names the file and each key that is unknown, missing, renamed or out of range.
    """
    known = set(RuntimeParams.model_fields)
    document = {name: section for name, section in read_sections(path).items() if name in known}
    return validated(RuntimeParams, document, path)
