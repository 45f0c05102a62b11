"""Orders for pictures: a prompt composed of attributes, a seed and a mode each, which follow from params and data."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.config import SynthesizeParams
from tasks.data.schema import DataError, read_records

# attributes that are columns of the data as well
COLUMNS = ("region", "road", "weather", "time")


@dataclass(frozen=True)
class SourceImage:
    """A picture of the train split that image-to-image starts from, less its bytes."""

    sha256: str
    place: str
    label: int
    description: str
    slices: dict[str, str]


@dataclass(frozen=True)
class ImageOrder:
    """One picture to make.

    Attributes:
        label: 0 none, 1 roadwork.
        number: from 0, within the label.
        mode: text (text-to-image) or image (image-to-image).
        seed: of its noise.
        attributes: the value chosen of each attribute.
        source: what image-to-image starts from, None for text-to-image.
    """

    label: int
    number: int
    mode: str
    prompt: str
    negative_prompt: str
    seed: int
    attributes: dict[str, str]
    source: SourceImage | None = None

    @property
    def name(self) -> str:
        """File name of the picture, without suffix."""
        return f"sdxl_{self.label}_{self.number:05d}"


def image_seed(seed: int, label: int, number: int) -> int:
    """Seed of one picture, 32 bits; independent of how many others there are."""
    return int.from_bytes(hashlib.sha256(f"{seed} image {label} {number}".encode()).digest()[:4])


def read_sources(train: Path) -> list[SourceImage]:
    """The pictures of the train split, in its order."""
    columns = ["sha256", "place", "label", "scene_description", *COLUMNS]
    return [
        SourceImage(row["sha256"], row["place"], row["label"], row["scene_description"] or "", {
            name: row[name] or "" for name in COLUMNS
        })
        for row in read_records(train, columns=columns, batch=1024)
    ]  # fmt: skip


def orders(params: SynthesizeParams, sources: list[SourceImage]) -> list[ImageOrder]:
    """Give the orders of all pictures, text-to-image first, so that a batch holds one mode.

    Args:
        params: section `synthesize`.
        sources: pictures of the train split.

    Raises:
        DataError: image-to-image is wanted, and no picture of the train split lies in the slices.
    """
    made = [
        _order(params, label, number, sources)
        for label, count in ((1, params.num_positive), (0, params.num_negative))
        for number in range(count)
    ]
    return sorted(made, key=lambda order: order.mode == "image")


def _order(params: SynthesizeParams, label: int, number: int, sources: list[SourceImage]) -> ImageOrder:
    rng = random.Random(f"{params.seed} order {label} {number}")  # noqa: S311 - no secret
    share = params.sdxl.image_share
    # spreads the share evenly over the numbers, so that every run of pictures has both modes
    from_image = int((number + 1) * share) > int(number * share)
    source = _choose(params, label, sources, rng) if from_image else None
    chosen = _attributes(params, label, source, rng)
    negative = params.negative_prompt.strip()
    if not label:
        negative = f"{params.negative_works.strip()}, {negative}"
    return ImageOrder(
        label,
        number,
        "image" if source else "text",
        compose(params, chosen, source),
        negative,
        image_seed(params.seed, label, number),
        chosen,
        source,
    )


def _choose(params: SynthesizeParams, label: int, sources: list[SourceImage], rng: random.Random) -> SourceImage:
    """Choose a picture with that label and in the slices that are wanted; an unknown slice counts as within."""
    fitting = [
        source
        for source in sources
        if source.label == label and all(source.slices.get(k, "") in ("", *v) for k, v in params.slices.items())
    ]
    if not fitting:
        raise DataError(
            f"the train split has no picture with label {label} in slices {dict(params.slices)}; "
            "widen synthesize.slices or set synthesize.sdxl.image_share: 0"
        )
    return rng.choice(fitting)


def _attributes(params: SynthesizeParams, label: int, source: SourceImage | None, rng: random.Random) -> dict[str, str]:
    """Choose a value of each attribute: within the slices, and what the source picture shows where that is known."""
    chosen = {}
    things = () if source and source.description else ("works" if label else "lookalikes",)
    for name in (*COLUMNS, "camera", *things):
        phrases = getattr(params.attributes, name)
        value = rng.choice([value for value in phrases if value in params.slices.get(name, phrases)])
        shown = source.slices.get(name, "") if source else ""
        chosen[name] = shown if shown in phrases else value
    return chosen


def compose(params: SynthesizeParams, chosen: dict[str, str], source: SourceImage | None = None) -> str:
    """Write the prompt: what is on the road comes first, where SDXL weighs it most.

    A source picture with a description of its own is described by that, as the subnet's validators do with captions.
    """
    phrase = {name: getattr(params.attributes, name)[value] for name, value in chosen.items()}
    if source and source.description:
        scene = " ".join(source.description.split()[: params.sdxl.description_words]).rstrip(".")
        return f"{phrase['camera']}, {scene}"
    where, things = f"{phrase['road']} {phrase['region']}", phrase.get("works") or phrase["lookalikes"]
    return f"{phrase['camera']}, {where}, {things}, {phrase['weather']}, {phrase['time']}, realistic photograph"


def batches(every: list[ImageOrder], size: int) -> Iterator[list[ImageOrder]]:
    """Cut orders into batches of one mode each."""
    for mode in ("text", "image"):
        group = [order for order in every if order.mode == mode]
        yield from (group[start : start + size] for start in range(0, len(group), size))


def origin(order: ImageOrder) -> dict[str, Any]:
    """What column `origin` says of a picture's making, the engine's own facts left to the engine."""
    document: dict[str, Any] = {
        "mode": "text-to-image" if order.mode == "text" else "image-to-image",
        "prompt": order.prompt,
        "negative_prompt": order.negative_prompt,
        "seed": order.seed,
        "attributes": order.attributes,
    }
    return {**document, "source_sha256": order.source.sha256} if order.source else document
