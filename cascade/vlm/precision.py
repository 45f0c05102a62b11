"""What a VLM's weights are computed in, read from its settings and files; torch is not loaded."""

from __future__ import annotations

from pathlib import Path

from cascade.vlm.awq import CONFIG, quantization
from cascade.vlm.settings import VlmSettings

CPU_INFO = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
QUANTIZATION = "--quantization"


def vlm_precision(folder: Path, settings: VlmSettings) -> str:
    """Name the precision of the model for pictures.

    Args:
        folder: of vlm.json.
        settings: its content.

    Raises:
        VlmError: the model's config.json is unreadable.
    """
    if settings.backend == "off":
        return "none"
    place = folder / (settings.model.folder or "")
    if settings.model.folder is not None and (place / CONFIG).is_file() and quantization(place):
        return "awq int4"
    if settings.backend == "transformers" or settings.server is None:
        return float_precision(settings.device)
    given = settings.server.arguments
    named = [word for place, word in enumerate(given) if place and given[place - 1] == QUANTIZATION]
    return named[0] if named else {"auto": "as stored"}.get(settings.server.dtype, settings.server.dtype)


def float_precision(device: str) -> str:
    """bf16 where the device is faster with it, by what a processor can do and never by timing; fp32 elsewhere."""
    if device == "cuda":
        return "bf16"
    return "bf16" if BF16_FLAGS & set(CPU_INFO.read_text(encoding="utf-8").split()) else "fp32"
