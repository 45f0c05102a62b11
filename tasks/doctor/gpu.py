"""The graphics card, and which stages of the champion fit it."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from cascade.core.measured_sizes import SIZES, MeasuredSizes, prefix_of
from cascade.release.store import RELEASES, ReleaseError, champion
from cascade.stages.describe import StageStatus, describe_stages, off_gpu_warning
from tasks.config import Params
from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import Context, check

FIELDS = "name,memory.total,memory.free,driver_version"
SECONDS = 8.0
GIB = 1 << 30


@dataclass(frozen=True)
class Card:
    """A card; memory in GiB."""

    name: str
    total: float
    free: float
    driver: str


@dataclass(frozen=True)
class StageSize:
    """A stage that is switched on; `gib` is None where it was never loaded on this machine."""

    name: str
    device: str
    gib: float | None


class DriverError(RuntimeError):
    """There is a driver, and it does not answer."""


@check("GPU", needs_params=True)
def gpu(context: Context) -> Iterator[Finding]:
    """What there is against what the profile wants."""
    try:
        cards = read_cards()
    except DriverError as failure:
        yield error(str(failure), "`nvidia-smi` by hand; after an update of the driver the machine has to be restarted")
        return
    described = _described(context.needed.memory.gpu_stages)
    yield from judge_cards(cards, context.needed, _sizes(described))
    if words := off_gpu_warning([status for _, status in described]):
        yield warning(words, "export.engine: auto, detect.engine: auto and `make run` on this machine, docs/engines.md")


def read_cards() -> list[Card]:
    """Ask nvidia-smi; empty where it is not installed.

    Raises:
        DriverError: it is installed and fails.
    """
    command = ["nvidia-smi", f"--query-gpu={FIELDS}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except FileNotFoundError:
        return []
    except (OSError, subprocess.SubprocessError) as failure:
        raise DriverError(f"nvidia-smi does not answer: {failure}") from None
    if done.returncode:
        raise DriverError(f"nvidia-smi fails: {' '.join((done.stdout + done.stderr).split())[:200]}")
    return [parse_card(line) for line in done.stdout.splitlines() if line.strip()]


def parse_card(line: str) -> Card:
    """Read a line of nvidia-smi's CSV, in MiB."""
    name, total, free, driver = (part.strip() for part in line.split(","))
    return Card(name, float(total) / 1024, float(free) / 1024, driver)


def judge_cards(cards: Sequence[Card], params: Params, stages: Sequence[StageSize]) -> Iterator[Finding]:
    """Say whether the cards have what `memory.gpu_gib` promises, and which stages that use one fit."""
    wanted = params.memory.gpu_gib
    using = [one for one in stages if one.device != "cpu"]
    lower = "set memory.gpu_gib to what is free, or take another profile (`python -m tasks.tools.profile sample`)"
    if not cards:
        needs = [f"memory.gpu_gib is {wanted:g}"] if wanted else []
        needs += [f"stage {one.name} of the champion runs on {one.device}" for one in using]
        yield (
            error(f"no GPU, and {' and '.join(needs)}", lower)
            if needs
            else ok(f"no GPU; profile {params.profile} needs none")
        )
        return
    best = max(cards, key=lambda one: one.free)
    words = f"{best.name}, driver {best.driver}: {best.free:.1f} of {best.total:.1f} GiB are free"
    if wanted > best.total:
        yield error(f"{words}, and memory.gpu_gib is {wanted:g}", lower)
    elif wanted > best.free:
        yield warning(f"{words}, and memory.gpu_gib is {wanted:g}", f"`nvidia-smi` shows who takes it; or {lower}")
    elif not wanted:
        yield warning(f"{words}, and memory.gpu_gib is 0: no stage may use it", "`python -m tasks.tools.profile gpu24`")
    else:
        yield ok(f"{words}; memory.gpu_gib is {wanted:g}")
    if using:
        yield _fit(using, wanted)


def _fit(using: Sequence[StageSize], limit: float) -> Finding:
    sizes = ", ".join(f"{one.name} {'?' if one.gib is None else f'{one.gib:.1f} GiB'}" for one in using)
    too_large = [one.name for one in using if one.gib is not None and one.gib > limit]
    if too_large:
        return error(f"{', '.join(too_large)}: too large for memory.gpu_gib ({sizes})", "a smaller model, or more GPU")
    if any(one.gib is None for one in using):
        return not_asked(
            f"sizes of stages on the GPU: {sizes}", "`streetvision serve` measures a stage at its first use"
        )
    total = sum(one.gib or 0 for one in using)
    if total > limit:
        rest = "the least recently used one leaves for another"
        return warning(f"{sizes}: not all at once, {rest}", "a larger memory.gpu_gib, where the card has it")
    return ok(f"all stages on the GPU fit at once: {sizes}")


def _described(gpu_stages: Collection[str]) -> list[tuple[str, StageStatus]]:
    """The champion's stages that are on, each with the release's id."""
    try:
        release = champion(RELEASES, digests=False)
    except ReleaseError:
        # the check of the champion says so
        return []
    return [(release.id, one) for one in describe_stages(release, gpu_stages) if one.on] if release else []


def _sizes(described: Collection[tuple[str, StageStatus]]) -> list[StageSize]:
    """What each stage took where it computes, as an earlier start measured it."""
    known, found = MeasuredSizes(SIZES).read(), []
    for release, one in described:
        device = one.device or "cpu"
        size = known.get(prefix_of(release, device) + one.name)
        found.append(StageSize(one.name, device, None if size is None else size / GIB))
    return found
