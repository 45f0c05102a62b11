"""A stand-in for `nvidia-smi`, which answers queries about cards of given sizes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SCRIPT = """#!{python}
import sys
cards = {cards!r}
given = dict(part.partition("=")[::2] for part in sys.argv[1:] if part.startswith("--"))
chosen = sys.argv[sys.argv.index("-i") + 1] if "-i" in sys.argv else None
for index, card in enumerate(cards):
    if chosen in (None, str(index)):
        print(", ".join(card[name] for name in given["--query-gpu"].split(",")))
"""


def write_nvidia_smi(folder: Path, cards: Sequence[Mapping[str, str]]) -> Path:
    """Write the program for cards of `card`, and give its folder, which goes before PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text(SCRIPT.format(python=sys.executable, cards=[dict(card) for card in cards]), encoding="utf-8")
    program.chmod(0o755)
    return folder


def write_broken(folder: Path, words: str = "NVIDIA-SMI has failed") -> Path:
    """Write one that fails as it does after an update of the driver."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{words}'\nexit 9\n", encoding="utf-8")
    program.chmod(0o755)
    return folder


def card(name: str, mib: int, used: int = 0) -> dict[str, str]:
    """A card as nvidia-smi knows it, memory in MiB."""
    return {
        "name": name,
        "memory.total": str(mib),
        "memory.free": str(mib - used),
        "memory.used": str(used),
        "driver_version": "580.95",
    }
