"""The interpreter that has Blender's module: an environment of its own, made once for all renderers.

`uv run --script` would not do. bpy's wheel states another Python in its file WHEEL than in its name, so uv takes what
it installed for a mismatch and installs it anew at each start (https://github.com/astral-sh/uv/issues/17711), which
removes Blender's files from under a renderer that runs at the same time.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from cascade.process.supervisor import Supervised
from tasks.data.schema import DataError

BPY = "4.5.15"
# an interpreter that has bpy, for machines where uv cannot fetch Blender's wheel
PYTHON = "STREETVISION_RENDER_PYTHON"
OWN_UV = Path("var/uv/bin/uv")
ENVIRONMENTS = Path("var/blender")
VERSION = ">=3.11,<3.12"  # of Python, for which bpy is built
# https://packaging.python.org/en/latest/specifications/inline-script-metadata/
METADATA = re.compile(r"(?m)^# /// script$\s(?P<lines>(^#(| .*)$\s)+)^# ///$")
HELP = (
    f"The renderer needs uv (`python3 -m pip install --target {OWN_UV.parent.parent} uv`), which fetches bpy {BPY} "
    f"(373 MB) on the first run; or set {PYTHON} to a Python 3.11 that has bpy=={BPY}, pillow and tqdm. Blender's "
    "module wants the system libraries libX11, libXrender, libXxf86vm, libXi, libXfixes, libxkbcommon, libSM, libGL"
)


def blender_python(script: Path, *, offline: bool = False) -> str:
    """Give the interpreter for a script that imports bpy; the first call makes its environment.

    Args:
        script: with its dependencies as inline metadata; scripts with the same dependencies share an environment.
        offline: take packages from uv's cache alone.

    Raises:
        DataError: no uv, or the packages cannot be had.
    """
    from filelock import FileLock

    if given := os.environ.get(PYTHON):
        return given
    uv = find_uv()
    folder = ENVIRONMENTS / _digest(script)
    python = folder / "bin" / "python"
    if not python.is_file():
        ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
        with FileLock(ENVIRONMENTS / ".lock"):
            if not python.is_file():
                _make(uv, script, folder, ["--offline"] if offline else [])
    return str(python)


def find_uv() -> str:
    """The machine's uv, or the one that `make env` installed.

    Raises:
        DataError: neither is there.
    """
    uv = shutil.which("uv") or (str(OWN_UV) if OWN_UV.is_file() else None)
    if uv is None:
        raise DataError(f"no uv on this machine. {HELP}")
    return uv


def _digest(script: Path) -> str:
    found = METADATA.search(script.read_text(encoding="utf-8"))
    if found is None:
        raise DataError(f"{script}: no inline metadata with its dependencies (`# /// script`)")
    return hashlib.sha256(found["lines"].encode()).hexdigest()[:16]


def _make(uv: str, script: Path, folder: Path, options: list[str]) -> None:
    """Make the environment aside, and put it in its place whole: a run that is killed leaves none that looks ready."""
    for left in ENVIRONMENTS.glob("part-*"):
        shutil.rmtree(left, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix="part-", dir=ENVIRONMENTS))
    venv = [uv, "venv", "--quiet", "--clear", "--no-project", "--relocatable", "--python", VERSION, str(part)]
    _run([*venv, *options])
    _run([uv, "pip", "install", "--quiet", "--python", str(part), "-r", str(script), *options])
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _run(command: list[str]) -> None:
    """Run uv, whose messages and progress bar go to stderr; it ends with this process."""
    with Supervised(command) as process:
        code = process.wait()
    if code:
        raise DataError(f"`{' '.join(command[:3])}` failed (exit {code}). {HELP}")
