"""The serving environment: what `uv sync --frozen --no-dev` installs, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.paths import ROOT

OWN_UV = ROOT / "var" / "uv" / "bin" / "uv"
# of the environment that runs the tests, into which they lead; and without bytecode each process compiles all anew
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")


def clean_environment() -> dict[str, str]:
    """This process's variables less those that are not for the other environment."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN} | {"COLUMNS": "200"}


def install(folder: Path, *options: str) -> Path:
    """Install the locked packages and this project, as a wheel, into a new environment.

    Args:
        folder: of the environment.
        options: more of `uv sync`.

    Raises:
        AssertionError: uv is missing or fails, as it does where packages are neither in its cache nor to be fetched.
    """
    uv = os.environ.get("UV") or shutil.which("uv") or str(OWN_UV)
    assert Path(uv).is_file(), "no uv: `make env` installs one"
    command = [uv, "sync", "--frozen", "--no-dev", "--no-editable", "--project", str(ROOT), *options]
    variables = clean_environment() | {"UV_PROJECT_ENVIRONMENT": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def bytes_on_disk(folder: Path) -> int:
    """Bytes that the files below a folder take on disk, as `du` counts; one with several names counts once."""
    files = {(one.st_dev, one.st_ino): one.st_blocks for one in (path.lstat() for path in folder.rglob("*"))}
    return 512 * sum(files.values())
