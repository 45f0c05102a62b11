"""Probabilities and embeddings of renderings, of changed renderings and of photographs, for tests/bench/drift.py.

`python tests/bench/drift_pictures.py --project DIR --photographs DIR --cache DIR` scores each kind once and keeps the
scores; the photographs serve evaluation alone, and nothing of them but their scores is written.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tasks.config.learn import CameraParams
from tasks.data.pictures import decode_stored
from tasks.data.schema import read_records
from tasks.mining.scorer import ProbeScorer
from tasks.training.camera import as_another_camera

# splits that the head was not trained on
SPLITS = ("calibration", "pool", "challenge")
QUALITY, LONGER_SIDE, BATCH = 85, 960, 8
# one camera for all pictures: each of its changes applies
CAMERA = CameraParams(share=1.0, white_balance=0.15, vignette=0.4, least_scale=0.4, least_quality=40)
FIELD_OF_VIEW = 0.75  # of the width and height that the new camera sees
FOG_NEAR, FOG_FAR, FOG_GREY = 0.25, 0.7, 205.0  # share of grey at the bottom and at the top
BLUR = 0.006  # standard deviation, of the width: a lens out of focus
Change = Callable[[Image.Image], Image.Image]


def fog(image: Image.Image) -> Image.Image:
    """Blend towards grey, more at the top, where a street is far away."""
    share = np.linspace(FOG_FAR, FOG_NEAR, image.height, dtype=np.float32)[:, None, None]
    pixels = (1 - share) * np.asarray(image, dtype=np.float32) + share * FOG_GREY
    return Image.fromarray(pixels.astype(np.uint8))


def blur(image: Image.Image) -> Image.Image:
    """A lens out of focus."""
    return image.filter(ImageFilter.GaussianBlur(BLUR * image.width))


def camera(image: Image.Image) -> Image.Image:
    """Another camera, the same for all pictures: narrower, with its own colours, corners, detail and compression."""
    wide, high = image.size
    margin = (1 - FIELD_OF_VIEW) / 2
    box = (int(margin * wide), int(margin * high), int((1 - margin) * wide), int((1 - margin) * high))
    return as_another_camera(image.crop(box), np.random.default_rng(3), CAMERA)


CHANGES: dict[str, Change] = {"fog": fog, "blur": blur, "camera": camera}


def renderings(project: Path) -> Iterator[tuple[str, bytes]]:
    """Digest and file of each picture of the splits."""
    for split in SPLITS:
        for row in read_records(project / "data" / "sample" / f"{split}.parquet", ["image", "sha256"]):
            yield row["sha256"], row["image"]["bytes"]


def changed(files: Iterator[tuple[str, bytes]], change: Change) -> Iterator[tuple[str, bytes]]:
    """The same pictures after a change, under the digests of the originals, so that pairs can be kept apart."""
    for digest, data in files:
        image = decode_stored(data)
        yield digest, _jpeg(change(image))


def photographs(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Digest and file of each photograph; large ones are shrunk, as the service does before its stages."""
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
            data = path.read_bytes()
            image = decode_stored(data)
            image.thumbnail((LONGER_SIDE, LONGER_SIDE))
            yield sha256(data).hexdigest(), _jpeg(image)


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=QUALITY)
    return buffer.getvalue()


def facts(project: Path) -> dict[str, NDArray[np.str_]]:
    """Time of day and place of each rendering, in their order."""
    files = [project / "data" / "sample" / f"{split}.parquet" for split in SPLITS]
    rows = [row for file in files for row in read_records(file, ["time", "place"])]
    return {name: np.array([row[name] for row in rows]) for name in ("time", "place")}


def pictures(kind: str, project: Path, photos: Path) -> Iterator[tuple[str, bytes]]:
    """Digest and file of each picture of a kind."""
    if kind == "photographs":
        return photographs(photos)
    if kind in CHANGES:
        return changed(renderings(project), CHANGES[kind])
    return renderings(project)


def keep_scores(project: Path, photos: Path, cache: Path) -> None:
    """Score every kind that the cache lacks: probabilities of the classifier, and embeddings as drift takes them."""
    models = project / "models"
    np.savez(cache / "facts.npz", **facts(project))
    for kind in ("plain", "photographs", *CHANGES):
        for what, backbone in (("probability", "adapted"), ("vectors", "backbone")):
            target = cache / f"{kind}-{what}.npz"
            if target.is_file():
                continue
            # stored features are those of the unchanged pictures, whose digests the changed ones keep
            scorer = ProbeScorer(models / backbone, models / "head", None, BATCH)
            scores = scorer.score(pictures(kind, project, photos))
            values = scores.probability if what == "probability" else scores.vectors[:].astype(np.float16)
            np.savez(target, keys=np.array(scores.keys), values=values)
            print(f"{kind} {what}: {len(scores.keys)} pictures", flush=True)


def main() -> None:
    """Score what the cache lacks."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--project", type=Path, required=True, help="with data/sample, models/adapted, backbone and head"
    )
    parser.add_argument("--photographs", type=Path, required=True, help="folder of folders")
    parser.add_argument("--cache", type=Path, required=True)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    keep_scores(given.project, given.photographs, given.cache)


if __name__ == "__main__":
    main()
