"""Pictures that the renderer left: their facts, their description, and the rows that they become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.common.files import read_json, sha256
from tasks.data.schema import SLICES, ImageRow

# share of a picture that roadwork objects cover at least, or it is left out: see docs/label-rule.md
MIN_SHARE = 0.012
NAMES = {
    "cone": "traffic cones", "drum": "drums", "barrier": "barriers", "sign": "a roadwork sign",
    "arrow_board": "an arrow board", "worker": "workers", "vehicle": "works vehicles",
}  # fmt: skip


def rendered(folder: Path, min_share: float = MIN_SHARE) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give the pictures of a render folder in order, with their facts, less those whose works are too small.

    Args:
        folder: holds a JPEG and a JSON file a picture, the JPEG written last.
        min_share: of a roadwork picture that its objects cover, at least.
    """
    for picture in sorted(folder.glob("p*.jpg")):
        facts = read_json(picture.with_suffix(".json"))
        if not facts["label"] or facts["share"] >= min_share:
            yield picture, facts


def describe(facts: dict[str, Any]) -> str:
    """The description of a roadwork picture; empty for a clear one, as in NATIX's data."""
    if not facts["label"]:
        return ""
    counts = Counter(item["category"] for item in facts["objects"])
    things = ", ".join(NAMES[name] for name, _ in counts.most_common())
    return f"Roadworks with {things} on a {facts['road']} road, {facts['time'].replace('_', ' ')}, {facts['weather']}."


def to_row(picture: Path, facts: dict[str, Any], split: str) -> ImageRow:
    """Make a row of a picture and its facts; `split` may be "" where none is known."""
    data = picture.read_bytes()
    objects = tuple(
        {"category": item["category"], "bbox": [float(v) for v in item["bbox"]]} for item in facts["objects"]
    )
    slices = {name: facts[name] for name in SLICES}
    return ImageRow(
        data=data,
        name=picture.name,
        label=facts["label"],
        sha256=sha256(data),
        place=facts["place"],
        split=split,
        scene_description=describe(facts),
        source="rendered",
        objects=objects,
        slices=slices,
    )
