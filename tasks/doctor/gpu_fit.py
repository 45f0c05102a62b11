"""What of the large profile fits this card, and which settings to choose: `streetvision doctor --gpu`."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator
from typing import Any

from tasks.doctor.finding import Finding, error, ok, warning
from tasks.doctor.gpu import Card, DriverError, read_cards
from tasks.doctor.gpu_sizes import BOOKINGS, SDXL, SHARE, STAGES, TRAININGS, Size, Training
from tasks.doctor.registry import Context, check

NO_CARD = (
    "install NVIDIA's driver until `nvidia-smi` lists a card, or stay with the profile that needs none: "
    "`python -m tasks.tools.profile sample`"
)
LARGER = "a card of 16 GB or more"
MEASURE = "`make gpu-check` measures every model on this card"
Judged = tuple[Finding, dict[str, Any]]


@check("what fits")
def what_fits(context: Context) -> Iterator[Finding]:
    """Of the largest card, each use of the profile with the settings that it needs."""
    try:
        cards = read_cards()
    except DriverError:
        # the check GPU says so
        return
    if not cards:
        yield error("no GPU: nothing of the profile gpu24 can run here", NO_CARD)
        return
    yield from judge_size(max(cards, key=lambda one: one.total))


def judge_size(card: Card) -> Iterator[Finding]:
    """Judge a card by its size alone; what other programs take of it is for the check GPU."""
    usable = usable_gib(card)
    yield from (finding for finding, _ in _judged(usable))
    words = f"{card.name}, {card.total:.0f} GiB, of which {usable} for models; {MEASURE}. Its settings:"
    yield ok(f"{words}\n{command(settings_of(card))}")


def usable_gib(card: Card) -> int:
    """GiB of a card for models, `memory.gpu_gib`."""
    return math.floor(SHARE * card.total)


def settings_of(card: Card) -> dict[str, Any]:
    """Keys of params.yaml with the values to choose for a card, over the profile gpu24."""
    usable = usable_gib(card)
    chosen: dict[str, Any] = {"memory.gpu_gib": usable}
    for _, settings in _judged(usable):
        chosen |= settings
    return chosen


def command(settings: dict[str, Any]) -> str:
    """The command that writes settings into params.yaml; the revisions of models come beside them."""
    changes = (shlex.quote(f"{key}={_as_yaml(value)}") for key, value in settings.items())
    return f"uv run python -m tasks.tools.profile gpu24 {' '.join(f'--set {one}' for one in changes)}"


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _judged(usable: int) -> Iterator[Judged]:
    yield _serving(usable)
    yield from (_training(one, usable) for one in TRAININGS)
    yield _synthesis(usable)


def _serving(usable: int) -> Judged:
    """Stages 1, 2 and 4 together, and one vision-language model beside them or in their place."""
    small = sum(one.gib for one in STAGES)
    words = f"serving: classifier, detectors and ocr {small:.1f} GiB"
    if small > usable:
        return error(f"{words}, and {usable} GiB can be used", f"{LARGER}, or serve.stages: light"), {}
    for one in BOOKINGS:
        if small + one.size.gib <= usable:
            return ok(f"{words}, and beside them {_named(one.size)}"), one.settings
    smallest = BOOKINGS[-1]
    if smallest.size.gib <= usable:
        remedy = "the least recently used stage leaves for another; a card of 24 GB holds all"
        return warning(f"{words}, {_named(smallest.size)}: not all at once", remedy), smallest.settings
    return warning(f"{words}; no vlm fits", f"{LARGER} for it"), {"vlm.backend": "off"}


def _training(one: Training, usable: int) -> Judged:
    batch = one.batch(usable)
    if not batch:
        return error(f"training of {one.name}: not even two pictures fit", f"{LARGER}, or a smaller model"), {}
    words = f"training of {one.name}: {batch} pictures a step, {one.gib(batch):.1f} GiB in fp32"
    return ok(f"{words} ({one.measured_batch} take {one.measured_gib:g}, {one.source})"), {one.key: batch}


def _synthesis(usable: int) -> Judged:
    for offload, size in SDXL:
        if size.gib <= usable:
            return ok(f"synthesis: {_named(size)}, {size.note}"), {"synthesize.sdxl.offload": offload}
    remedy = "layer by layer it fits, several times slower"
    return warning("synthesis: SDXL does not fit", remedy), {"synthesize.sdxl.offload": "sequential"}


def _named(size: Size) -> str:
    return f"{size.name} {size.gib:g} GiB ({size.source})"
