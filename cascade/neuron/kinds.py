"""Which requests are a validator's own challenges, and which are organic: what the protocol lets a miner see.

No field says it. Two things differ in the validator's code (natixnetwork/streetvision-subnet, 2025-12):

- a `testnet_label` of 0 or 1 is the label of a challenge; an organic request has none;
- challenges and organic requests go out through dendrites of their own under one hotkey. A dendrite has a UUID of
  version 1, which holds the time of its making and the machine. The validator makes the dendrite for challenges first
  (natix/base/validator.py), those of the proxy and of the distributor of organic tasks after it.

So where two dendrites of one hotkey and machine are seen in use side by side, the older sends challenges, and the
younger organic requests. Where only one was seen, nothing tells, and the kind is `unknown`. Scored are challenges
alone; the answer is the same for all kinds.
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

Entry = TypeVar("Entry")
Kind = Literal["synthetic", "organic", "unknown"]
KINDS: tuple[Kind, ...] = ("synthetic", "organic", "unknown")
# in which a dendrite that was not used counts as gone: validators restart every few hours
WINDOW_SECONDS = 6 * 3600.0
HOTKEYS, DENDRITES = 256, 8


@dataclass
class _Dendrite:
    made: int  # 100 ns
    machine: int
    first: float
    last: float


class Kinds:
    """Remembers the dendrites of each hotkey, the latest few of the latest callers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, OrderedDict[str, _Dendrite]] = OrderedDict()

    def kind(self, hotkey: str, dendrite: str | None, label: int) -> Kind:
        """Note a request, and say what it is.

        Args:
            hotkey: of the caller, its signature checked.
            dendrite: UUID that the caller states.
            label: `testnet_label`.
        """
        by_dendrites = self._by_dendrites(hotkey, dendrite)
        return "synthetic" if label in (0, 1) else by_dendrites

    def _by_dendrites(self, hotkey: str, name: str | None) -> Kind:
        now = self._clock()
        own = self._note(hotkey, name, now)
        if own is None:
            return "unknown"
        others = [
            one
            for one in self._seen[hotkey].values()
            if one is not own and one.machine == own.machine and now - one.last <= WINDOW_SECONDS
        ]
        # the older one was used after the younger one had come: so both live, and neither is the other's successor
        if any(one.made < own.made and one.last > own.first for one in others):
            return "organic"
        if any(one.made > own.made for one in others):
            return "synthetic"
        return "unknown"

    def _note(self, hotkey: str, name: str | None, now: float) -> _Dendrite | None:
        try:
            parsed = uuid.UUID(name or "")
        except ValueError:
            return None
        if parsed.version != 1:
            return None
        dendrites = self._seen.setdefault(hotkey, OrderedDict())
        own = dendrites.setdefault(parsed.hex, _Dendrite(parsed.time, parsed.node, now, now))
        own.last = now
        _shorten(dendrites, parsed.hex, DENDRITES)
        _shorten(self._seen, hotkey, HOTKEYS)
        return own


def _shorten(entries: OrderedDict[str, Entry], newest: str, most: int) -> None:
    entries.move_to_end(newest)
    while len(entries) > most:
        entries.popitem(last=False)
