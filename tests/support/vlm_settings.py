"""Settings of a VLM for tests."""

from __future__ import annotations

from pathlib import Path

from cascade.vlm.settings import SETTINGS_FILE, VlmSettings

SERVER = {
    "python": None, "port": 0, "start_seconds": 20.0, "stop_seconds": 2.0, "sleep": True, "memory_gib": 0.0,
    "gpu_memory_utilization": 0.5, "max_model_len": 512, "dtype": "auto", "arguments": [],
}  # fmt: skip
GIVEN = {
    "backend": "transformers", "model": {"folder": "."}, "clip_model": None, "prompt": "Is there roadwork ?",
    "yes_words": ["yes"], "no_words": ["no"], "scaling": {"a": 1.0, "b": 0.0}, "exits": {"high": 0.75, "low": 0.25},
    "min_mass": 0.5, "max_tokens": 4, "thinking": False, "time_limit_seconds": 30.0, "retries": 1, "batch_size": 2,
    "max_side": 512, "clip_frames": 3, "threads": 1, "memory_bytes": 0, "server": SERVER, "files": {},
}  # fmt: skip


def vlm_settings(**changes: object) -> VlmSettings:
    """Give vlm.json as an object, with `changes` at its top level."""
    return VlmSettings.model_validate({**GIVEN, **changes})


def write_settings(folder: Path, **changes: object) -> Path:
    """Write vlm.json and give its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS_FILE).write_text(vlm_settings(**changes).model_dump_json(), encoding="utf-8")
    return folder
