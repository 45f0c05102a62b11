"""The sections of `params.yaml` that the runtime reads; the pipeline's are in `tasks.config`."""

from cascade.config.base import PARAMS_FILE, ConfigError, Section, Share
from cascade.config.cache import CacheParams
from cascade.config.clips import ClipParams
from cascade.config.inbox import InboxParams
from cascade.config.memory import MemoryParams
from cascade.config.ocr import OcrParams
from cascade.config.runtime import RuntimeParams, load_runtime_params
from cascade.config.serve import ServeParams
from cascade.config.timeouts import TimeoutParams

__all__ = [
    "PARAMS_FILE", "CacheParams", "ClipParams", "ConfigError", "InboxParams", "MemoryParams", "OcrParams",
    "RuntimeParams", "Section", "ServeParams", "Share", "TimeoutParams", "load_runtime_params",
]  # fmt: skip
