"""Disk and memory of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from cascade.process.memory import available_bytes
from cascade.release.store import RELEASES
from tasks.doctor.finding import Finding, error, ok, warning
from tasks.doctor.registry import Context, check

GIB = 1 << 30
FOLDERS = (Path("var"), RELEASES, Path(".dvc"))
RUN_GIB = 10  # a run of the profile `sample` writes about 3 GiB, one of `gpu24` more
FEW_INODES = 0.05


@check("disk", needs_params=True)
def disk(context: Context) -> Iterator[Finding]:
    """The disks of what is written: little space stops a promotion, less than that a training."""
    least = context.needed.promotion.min_free_gib
    seen: set[int] = set()
    for folder in FOLDERS:
        place = next(one for one in (folder, *folder.resolve().parents) if one.exists())
        if place.stat().st_dev in seen:
            continue
        seen.add(place.stat().st_dev)
        yield _space(folder, shutil.disk_usage(place).free / GIB, least)


def _space(folder: Path, free: float, least: float) -> Finding:
    words = f"{free:.1f} GiB are free on the disk of {folder}"
    if free < least:
        return error(f"{words}, and promotion.min_free_gib is {least:g}", "`dvc gc -w`, and remove old models/releases")
    if free < RUN_GIB:
        return warning(
            f"{words}; a run may need {RUN_GIB}", "`dvc gc -w` removes data that no stage of this commit uses"
        )
    return ok(words)


@check("memory", needs_params=True)
def memory(context: Context) -> Iterator[Finding]:
    """What `memory.ram_gib` promises to the stages must be there."""
    import psutil

    wanted, free = context.needed.memory.ram_gib, available_bytes() / GIB
    total = psutil.virtual_memory().total / GIB
    words = f"{free:.1f} of {total:.1f} GiB of RAM are free; memory.ram_gib is {wanted:g}"
    if wanted > total:
        yield error(f"{words}: more than there is", "lower memory.ram_gib")
    elif free < wanted / 2:
        yield warning(words, "end what takes it, or lower memory.ram_gib; a stage that does not fit is skipped")
    else:
        yield ok(words)
