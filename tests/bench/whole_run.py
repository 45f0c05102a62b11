"""Seconds of `make run`: `--cold` in a fresh clone of the last commit, packages cached, or `--warm` after a run.

The cold one takes ten minutes to half an hour.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from cascade.api.process import status
from tests.bench.result import Sample, add_json, write_result

CLONE = Path("var/bench/clone")
WARM_RUNS = 3
# they would lead the clone to the packages and settings of this project
OURS = ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "UV_PROJECT_ENVIRONMENT")


def main() -> None:
    """Measure one of the two, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--cold", action="store_true")
    kind.add_argument("--warm", action="store_true")
    add_json(parser)
    options = parser.parse_args()
    name, seconds = ("cold_run", [cold(Path(), CLONE)]) if options.cold else ("warm_run", warm())
    print(f"{name}: {', '.join(f'{one:.1f}' for one in seconds)} s")
    write_result(options.json, {name: [Sample(ours=one) for one in seconds]})


def cold(project: Path, clone: Path) -> float:
    """Clone the last commit, run it once, and remove it again; gives seconds of `make run`."""
    shutil.rmtree(clone, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(project), str(clone)], check=True)
    try:
        return run_make(clone)
    finally:
        subprocess.run(["make", "stop"], cwd=clone, env=_environment(), check=False)
        shutil.rmtree(clone, ignore_errors=True)


def warm() -> list[float]:
    """Run what is done several times; gives seconds each."""
    found = subprocess.run(["dvc", "status"], capture_output=True, text=True, check=False)
    if found.returncode:
        sys.exit(f"error: dvc status: {found.stderr.strip()}")
    if "up to date" not in found.stdout:
        sys.exit("error: stages are stale, so this would be no warm run; `make run` first")
    before = status()
    try:
        # this one may have to start the service
        run_make(Path())
        return [run_make(Path()) for _ in range(WARM_RUNS)]
    finally:
        if before is None:
            subprocess.run(["make", "stop"], env=_environment(), check=False)


def run_make(folder: Path) -> float:
    """Seconds of `make run` in a folder."""
    start = time.perf_counter()
    done = subprocess.run(["make", "run"], cwd=folder, env=_environment(), check=False)
    if done.returncode:
        sys.exit(f"error: `make run` in {folder.resolve()} ended with code {done.returncode}")
    return time.perf_counter() - start


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OURS}


if __name__ == "__main__":
    main()
