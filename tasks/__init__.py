"""WHAT: one module a pipeline step, run as `python -m tasks.<name>`; knows no Prefect.

dvc.yaml says `python`, which is the system's own where the environment is not on PATH, as for `.venv/bin/dvc repro`. A
step goes on with the project's environment then, or says in one line what is missing. Standard library only.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

# of the base install, without which no step starts; and of the extra that brings the pipeline
BASE, PIPELINE = ("pydantic", "yaml", "numpy"), "torch"
STARTED = "STREETVISION_STEP_PYTHON"


def _settle(root: Path) -> None:
    """Replace this process by one of the project's environment where a step lacks its libraries."""
    # what runpy puts there until it has found the step's module
    if sys.argv[:1] != ["-m"]:
        return
    words = getattr(sys, "orig_argv", [])  # from Python 3.10 on
    python = root / ".venv" / "bin" / "python"
    # an environment that is damaged must not start itself for ever
    again = os.environ.pop(STARTED, "") == str(python)
    absent = [name for name in (*BASE, PIPELINE) if find_spec(name) is None]
    if not absent or Path(sys.prefix).resolve() == python.parents[1].resolve():
        return
    if os.access(python, os.X_OK) and words and not again:
        print(f"{sys.executable} has no {absent[0]}; the step goes on with {python}", file=sys.stderr, flush=True)
        os.environ[STARTED] = str(python)
        os.execv(python, [str(python), *words[1:]])  # noqa: S606
    if absent != [PIPELINE]:
        sys.exit(
            f"error: {sys.executable} has no {absent[0]}, and no {python} has it; `make env` makes that one, or put an "
            "environment that has the libraries first on PATH"
        )


_settle(Path(__file__).resolve().parents[1])
