"""Section `cache`: answers by content and release."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cascade.config.base import Section


class CacheParams(Section):
    """Folder of the cache, none where it is null, and its limit in bytes."""

    folder: Path | None = None
    max_bytes: int = Field(default=100_000_000, gt=0)
