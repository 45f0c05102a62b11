"""What the exported detectors see in a split's seeded views, and what is really there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from cascade.detection.boxes import Box
from cascade.engines.boxes import BoxEngine
from tasks.data.views import LEVELS, View
from tasks.detection.precision import Truth
from tasks.detection.samples import VIEW, seen
from tasks.training.pictures import AnnotatedImage

BATCH = 8


@dataclass(frozen=True)
class DetectedView:
    """One view and what two detectors saw in it.

    Attributes:
        key: of the picture.
        place: of the picture.
        label: of the picture, 0 or 1.
        level: 0 to 3.
        truth: what is left in the view, in its pixels.
        boxes: the detectors' answers, in the order in which they were asked.
    """

    key: str
    place: str
    label: int
    level: int
    truth: Truth
    boxes: tuple[list[Box], list[Box]]


def detect_views(
    pictures: Sequence[AnnotatedImage], engines: tuple[BoxEngine, BoxEngine], *, views: int, seed: int
) -> list[DetectedView]:
    """Show both detectors `views` views of every picture, as a validator would send them."""
    found: list[DetectedView] = []
    with tqdm(total=len(pictures) * views, desc="detect", unit="view") as bar:
        for start in range(0, len(pictures), BATCH):
            shots = [
                shot for picture in pictures[start : start + BATCH] for shot in views_with_truth(picture, views, seed)
            ]
            images = [image for image, _ in shots]
            first, second = (engine.see(images) for engine in engines)
            for (_, blank), one, two in zip(shots, first, second, strict=True):
                found.append(DetectedView(blank.key, blank.place, blank.label, blank.level, blank.truth, (one, two)))
            bar.update(len(shots))
    return found


def views_with_truth(picture: AnnotatedImage, views: int, seed: int) -> list[tuple[Image.Image, DetectedView]]:
    """Views of a picture as images, each with its truth and no boxes yet.

    The levels go round; at which one a picture begins follows from its content, so that no level is tied to a label.
    """
    image = picture.load()
    shots = []
    for view in views_of(picture.key, views):
        sample = seen(picture, image, view, seed=seed, size=VIEW)
        truth = Truth(sample.corners * VIEW, sample.classes)
        shown = DetectedView(picture.key, picture.place, picture.label, view.level, truth, ([], []))
        shots.append((Image.fromarray(sample.pixels), shown))
    return shots


def views_of(key: str, count: int) -> list[View]:
    """Give `count` views of a picture: four are one of each level, and eight two."""
    first = int(key[:8], 16)
    return [View(LEVELS[(first + turn) % len(LEVELS)], turn // len(LEVELS)) for turn in range(count)]


def open_pair(folder: Path, names: tuple[str, str], kind: str, threads: int) -> tuple[BoxEngine, BoxEngine]:
    """Load two detectors of models/detectors."""
    first, second = (BoxEngine(folder / name, kind, threads) for name in names)  # type: ignore[arg-type]  # params know
    return first, second
