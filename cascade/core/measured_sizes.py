"""Measured sizes of stages, kept between starts so that the next one knows them before it loads anything."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock, get_ident

SIZES = Path("var/stage-sizes.json")


def prefix_of(release: str, device: str) -> str:
    """What stands before a stage's name in a key: sizes in RAM and on a card are two things."""
    return f"{release}/" if device == "cpu" else f"{release}/cuda/"


class MeasuredSizes:
    """Measured bytes by key in a JSON file, replaced in one step; without a file they are forgotten at the end."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = Lock()

    def read(self) -> dict[str, int]:
        """Give what was measured so far; a damaged file counts as empty, since every size can be measured again."""
        try:
            document = json.loads(self._path.read_text(encoding="utf-8")) if self._path else {}
        except (OSError, ValueError):
            return {}
        known = document if isinstance(document, dict) else {}
        return {str(key): value for key, value in known.items() if isinstance(value, int) and value >= 0}

    def note(self, key: str, size: int) -> None:
        """Keep a measurement."""
        if self._path is None:
            return
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_name(f".{self._path.name}.{get_ident()}")
            partial.write_text(json.dumps({**self.read(), key: size}, indent=1, sort_keys=True), encoding="utf-8")
            partial.replace(self._path)
