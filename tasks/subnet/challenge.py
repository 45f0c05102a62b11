"""Challenges as the subnet's validators make them (natix/validator/forward.py), from a seed."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tasks.data.pictures import decode_stored
from tasks.data.views import LEVELS, WIRE_QUALITY, View, make_view
from tasks.subnet.pictures import REAL, SYNTHETIC, Picture, rows_of

SIZE = 224
# of `validate` in params.yaml, whose views these are then
SEED = 20261122


@dataclass(frozen=True)
class Challenge:
    """One challenge, without its picture.

    Attributes:
        picture: that it shows.
        view: at which level, and which of the random views of it.
        share: chance of its label and source among all challenges.
    """

    picture: Picture
    view: View
    share: float

    @property
    def key(self) -> str:
        """The same for challenges with the same bytes."""
        return f"{self.picture.key}:{self.view.name}"


def draw_challenges(
    pictures: Sequence[Picture], *, steps: int, seed: int, synthetic: float, draws: int
) -> list[Challenge]:
    """Draw a run: label one to one, then the source, then one of its pictures, then one of the four levels.

    Args:
        pictures: both labels, in a fixed order.
        steps: number of challenges.
        seed: the same seed draws the same run.
        synthetic: share of synthetic pictures among those of a label that has both kinds.
        draws: random views of a picture and level; one to one by turns of chance.
    """
    random = np.random.default_rng(seed)
    groups = _groups(pictures)
    run = []
    for _ in range(steps):
        label = int(random.integers(2))
        shares = _shares(groups[label], synthetic)
        source = SYNTHETIC if random.random() < shares[SYNTHETIC] else REAL
        members = groups[label][source]
        picture = members[int(random.integers(len(members)))]
        view = View(LEVELS[int(random.integers(len(LEVELS)))], int(random.integers(draws)))
        run.append(Challenge(picture, view, 0.5 * shares[source]))
    return run


def make_images(path: Path, challenges: Iterable[Challenge], *, seed: int) -> dict[str, str]:
    """Make the pictures of a run as they go over the wire, each once: base64 of a JPEG of 224 px, by challenge's key.

    Views are those of `tasks.data.views`, which end as the pixels of a JPEG; encoded once more at the same quality
    they are all but the same.

    Args:
        path: of the pictures.
        challenges: of the run.
        seed: of the views.
    """
    wanted: dict[str, dict[str, View]] = {}
    for one in challenges:
        wanted.setdefault(one.picture.key, {})[one.key] = one.view
    images: dict[str, str] = {}
    for row in rows_of(path):
        views = wanted.pop(row.sha256, {})
        image = decode_stored(row.data) if views else None
        for key, view in views.items():
            assert image is not None  # noqa: S101
            pixels, _ = make_view(image, view, key=row.sha256, seed=seed, size=SIZE)
            images[key] = _on_the_wire(pixels)
    return images


def _groups(pictures: Sequence[Picture]) -> list[dict[str, list[Picture]]]:
    groups: list[dict[str, list[Picture]]] = [{REAL: [], SYNTHETIC: []} for _ in range(2)]
    for picture in pictures:
        groups[picture.label][picture.source].append(picture)
    return groups


def _shares(group: dict[str, list[Picture]], synthetic: float) -> dict[str, float]:
    """Shares of the sources among the challenges of a label; a label with one kind has that alone."""
    if not group[REAL] or not group[SYNTHETIC]:
        synthetic = float(bool(group[SYNTHETIC]))
    return {REAL: 1 - synthetic, SYNTHETIC: synthetic}


def _on_the_wire(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=WIRE_QUALITY)
    return base64.b64encode(stream.getvalue()).decode("ascii")
