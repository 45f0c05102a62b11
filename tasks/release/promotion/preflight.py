"""What is looked at before anything is changed: a promotion that would fail half-way does not begin."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cascade.api.auth import check_host
from cascade.api.process import ServiceState
from cascade.process import tree
from cascade.process.memory import available_bytes
from cascade.release.store import RELEASES, Release
from tasks.config import Params
from tasks.release.promotion.fronts import Front
from tasks.release.smoke_test import CHALLENGE, GoldenImage, golden_images

GIB = 1 << 30
VAR = Path("var")


class PreflightError(RuntimeError):
    """A promotion cannot begin; nothing was changed."""


def check(params: Params, front: Front | None) -> None:
    """Look at the host, the disks and the front; a rollback leaves the front out, whose switch looks again.

    Raises:
        PreflightError: a disk is full.
        ServiceError, FrontError: the service or nginx could not be started as params.yaml says.
    """
    check_host(params.serve.host)
    for folder in (VAR, RELEASES):
        free = shutil.disk_usage(folder).free / GIB
        if free < params.promotion.min_free_gib:
            raise PreflightError(
                f"{folder}: {free:.2f} GiB are free on its disk, and promotion.min_free_gib is "
                f"{params.promotion.min_free_gib:g}; the live release goes on"
            )
    if front is not None:
        front.check()


def golden(params: Params, challenge: Path = CHALLENGE) -> list[GoldenImage]:
    """The images that the new release must answer.

    Raises:
        PreflightError: there are none; without data there is no promotion.
    """
    images: Sequence[GoldenImage] = ()
    if challenge.is_file():
        images = golden_images(challenge, params.promotion.watch.golden)
    if not images:
        raise PreflightError(f"{challenge}: no images to test the release with; `dvc repro pull` writes them")
    return list(images)


def both_fit(params: Params, release: Release, blue: ServiceState | None) -> str | None:
    """Say what a second service beside the first lacks; None where both fit."""
    if blue is None:
        return None
    size = sum(entry.size for entry in release.manifest.files.values())
    needed = params.promotion.memory_margin * max(tree.resident(blue.pid), size)
    free = available_bytes()
    if free < needed:
        return f"a second service needs {needed / GIB:.2f} GiB of RAM, {free / GIB:.2f} are free"
    if params.memory.gpu_gib and (card := gpu_free_gib()) < params.memory.gpu_gib:
        return f"a second service may take {params.memory.gpu_gib:g} GiB of the graphics card, {card:.1f} are free"
    return None


def gpu_free_gib() -> float:
    """GiB that are free on the graphics card; 0 where it cannot be asked."""
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return max(float(line) for line in done.stdout.split()) / 1024
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0.0
