"""Which columns hold what: ours, and those of `natix-network-org/roadwork` as its card states them.

NATIX's names contain dots and are flat. `video_info.vid_id` is one drive; frames of one drive in two splits are a leak.
Validators use a row only where it is described exactly if it is labelled roadwork (streetvision-subnet,
natix/validator), so that a picture which they never send is neither trained on nor measured with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.data.schema import SLICES

DRIVE = "video_info.vid_id"
TAGS = {
    "time": "scene_level_tags.daytime",
    "weather": "scene_level_tags.weather",
    "road": "scene_level_tags.scene_environment",
    "region": "city_name",
}


@dataclass(frozen=True)
class Columns:
    """Where a file keeps what it says about its rows.

    Attributes:
        place: the column that tells what belongs together, or None.
        slices: the column of each of our slices, where there is one.
        filtered: whether rows are left out whose label and description contradict each other.
    """

    place: str | None
    slices: Mapping[str, str]
    filtered: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns that must be strings."""
        return (*([self.place] if self.place else []), *self.slices.values())

    def place_of(self, record: Mapping[str, Any]) -> str:
        """The place of a row, or empty."""
        return str(record[self.place] or "") if self.place else ""

    def slices_of(self, record: Mapping[str, Any]) -> dict[str, str]:
        """All of our slices, empty where nothing is said."""
        return {name: str(record.get(self.slices.get(name, name)) or "") for name in SLICES}

    def contradiction(self, record: Mapping[str, Any], label: int) -> str:
        """What is wrong with label and description together, or empty."""
        described = bool((record.get("scene_description") or "").strip())
        if not self.filtered or described == bool(label):
            return ""
        return f"label {label} {'with' if described else 'without'} a description: validators leave such rows out"


def columns_of(names: Iterable[str]) -> Columns:
    """Tell NATIX's files from others by the names of their columns; a column `place` of ours goes first."""
    there = set(names)
    ours = {name: name for name in SLICES if name in there}
    place = next((name for name in ("place", DRIVE) if name in there), None)
    if DRIVE not in there:
        return Columns(place, ours)
    tags = {name: column for name, column in TAGS.items() if column in there}
    return Columns(place, tags | ours, filtered="scene_description" in there)
