"""Asks for the card in a process of its own, with a limit."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

from tasks.gpu_check.card import Card, NoCardError, read_card
from tasks.gpu_check.remedy import install
from tasks.gpu_check.run import missing

SECONDS = 60.0
KILL_SECONDS = 5.0
ANSWER = "card.json"


def ask_card(seconds: float = SECONDS) -> Card | str:
    """The card, or in one line why there is none."""
    if absent := missing(["torch"]):
        return f"not installed: torch; {install(absent)}"
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as name:
        answer = Path(name) / ANSWER
        process = multiprocessing.get_context("spawn").Process(target=_answer, args=(answer,), daemon=True)
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join(KILL_SECONDS)
            return f"the driver does not answer within {seconds:.0f} s; `nvidia-smi` by hand, or restart the machine"
        if not answer.is_file():
            return f"asking for the card ended its process (exit code {process.exitcode}); does `nvidia-smi` answer?"
        found = json.loads(answer.read_text(encoding="utf-8"))
    return Card.model_validate(found["card"]) if "card" in found else str(found["reason"])


def _answer(path: Path) -> None:
    try:
        found: dict[str, Any] = {"card": read_card().model_dump()}
    except (NoCardError, RuntimeError) as error:
        found = {"reason": " ".join(str(error).split())}
    path.write_text(json.dumps(found), encoding="utf-8")
