"""What the exported detectors see in a split's seeded views, and what is really there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from cascade.detection.boxes import Box
from cascade.engines.boxes import BoxEngine
from tasks.config.detect import DetectParams
from tasks.data.annotated_images import AnnotatedImage
from tasks.data.views import LEVELS, View
from tasks.detection.precision import GroundTruth
from tasks.detection.samples import VIEW, view_input

BATCH = 8


@dataclass(frozen=True)
class DetectedView:
    """One view and what two detectors found in it.

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
    truth: GroundTruth
    boxes: tuple[list[Box], list[Box]]


def detect_views(
    pictures: Sequence[AnnotatedImage], engines: tuple[BoxEngine, BoxEngine], params: DetectParams, views: int
) -> list[DetectedView]:
    """Show both detectors views of every picture, as a validator would send them.

    Args:
        pictures: of one split.
        engines: the two detectors.
        params: section `detect`.
        views: of each picture; see `views_of`.
    """
    found: list[DetectedView] = []
    with tqdm(total=len(pictures) * views, desc="detect", unit="view") as bar:
        for start in range(0, len(pictures), BATCH):
            batch = [view for picture in pictures[start : start + BATCH] for view in true_views(picture, views, params)]
            first, second = (engine.see([image for image, _ in batch]) for engine in engines)
            for (_, view), *boxes in zip(batch, first, second, strict=True):
                found.append(replace(view, boxes=(boxes[0], boxes[1])))
            bar.update(len(batch))
    return found


def true_views(picture: AnnotatedImage, views: int, params: DetectParams) -> list[tuple[Image.Image, DetectedView]]:
    """Views of a picture as images, each with its truth and no boxes yet.

    The levels go round; at which one a picture begins follows from its content, so that no level is tied to a label.
    """
    image, found = picture.load(), []
    for view in views_of(picture.key, views):
        sample = view_input(picture, image, view, params, VIEW)
        truth = GroundTruth(sample.corners * VIEW, sample.classes)
        empty = DetectedView(picture.key, picture.place, picture.label, view.level, truth, ([], []))
        found.append((Image.fromarray(sample.pixels), empty))
    return found


def views_of(key: str, count: int) -> list[View]:
    """Give `count` views of a picture: four are one of each level, and eight two."""
    first = int(key[:8], 16)
    return [View(LEVELS[(first + turn) % len(LEVELS)], turn // len(LEVELS)) for turn in range(count)]


def open_pair(folder: Path, names: tuple[str, str], kind: str, threads: int) -> tuple[BoxEngine, BoxEngine]:
    """Load two detectors of models/detectors."""
    first, second = (BoxEngine(folder / name, kind, threads) for name in names)  # type: ignore[arg-type]  # params know
    return first, second
