"""Our own supervisor, for where PM2 is not installed: starts parts and starts again what ends, until SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from pydantic import TypeAdapter

from cascade.process.part import FOLDER, Part, run_part

PLAN = FOLDER / "plan"
FIRST_SECONDS = 1.0  # before the first new start; then half as long again, as PM2's exp_backoff_restart_delay has it
LONGEST_SECONDS = 15.0
QUIET_SECONDS = 30.0  # after which a part counts as sound, and its next end is a first one
LARGEST_LOG = 64 << 20  # bytes; a larger one is put aside when a part starts, in place of the last such
_PARTS = TypeAdapter(tuple[Part, ...])


def write_plan(parts: tuple[Part, ...], plan: Path = PLAN) -> None:
    """Write what `main` shall run."""
    plan.parent.mkdir(parents=True, exist_ok=True)
    plan.write_bytes(_PARTS.dump_json(parts, indent=2))


def keep(part: Part, stop: threading.Event) -> None:
    """Run a part again and again, with a growing pause between two starts."""
    pause = FIRST_SECONDS
    while not stop.is_set():
        begun = time.monotonic()
        ended = _run(part, stop)
        if stop.is_set():
            return
        pause = FIRST_SECONDS if time.monotonic() - begun > QUIET_SECONDS else pause
        print(f"{part.name} {ended}; it starts again in {pause:.1f} s", flush=True)
        stop.wait(pause)
        pause = min(1.5 * pause, LONGEST_SECONDS)


def put_aside(log: Path) -> None:
    """Rename a log that has grown too large, so that a new one begins."""
    if log.is_file() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".old.log"))


def _run(part: Part, stop: threading.Event) -> str:
    part.log.parent.mkdir(parents=True, exist_ok=True)
    put_aside(part.log)
    output = os.open(part.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        return f"ended with code {run_part(part.name, part.command, part.seconds, part.gib, stop, output)}"
    except OSError as error:
        return f"cannot be run: {error}"
    finally:
        os.close(output)


def main() -> None:
    """Run as `python -m cascade.process.restarts PLAN`."""
    parts, stop = _PARTS.validate_json(Path(sys.argv[1]).read_bytes()), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threads = [threading.Thread(target=keep, args=(part, stop)) for part in parts]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


if __name__ == "__main__":
    main()
