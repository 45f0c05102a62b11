"""From a path of the user's to facts, and a second time to the pictures that the sheet shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.labelled.class_names import COMMON, ClassNames
from cascade.labelled.files import find_pictures, printable
from cascade.preprocess.image import BadImage, decode
from tasks.common.files import sha256
from tasks.data.examine import Facts, examine
from tasks.data.readers import Rejected, read_path
from tasks.data.readers.parquet import parquet_files
from tasks.data.schema import DataError, ImageRow, read_records, read_schema

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL = 320  # px, the longer side of what the sheet gets


def scan(rows: Iterable[ImageRow | Rejected], *, max_pixels: int, min_side: int) -> tuple[list[Facts], list[Rejected]]:
    """Decode all rows: the facts of those that can be used, and the others with their reasons."""
    from tqdm import tqdm

    facts: list[Facts] = []
    rejected: list[Rejected] = []
    examined = examine(rows, max_pixels=max_pixels, min_side=min_side)
    for item, result in tqdm(examined, desc="check", unit="img", disable=None):
        if isinstance(item, Rejected):
            rejected.append(item)
        elif isinstance(result, BadImage):
            rejected.append(Rejected(item.origin, item.name, result.reason, str(result)))
        elif result is not None:
            facts.append(result)
    return facts, rejected


def labelled_rows(path: Path, classes: ClassNames = COMMON, seed: int = 0) -> Iterator[ImageRow | Rejected]:
    """The rows of a labelled set, as pull reads them."""
    return read_path(path, classes, seed)


def any_rows(path: Path) -> Iterator[ImageRow | Rejected]:
    """Every picture of a set whose labels do not matter: parquet files with a column `image`, else files by content.

    Raises:
        DataError: nothing is there, or a parquet file has no pictures.
    """
    files = [path] if path.is_file() else parquet_files(path) if path.is_dir() else []
    if files:
        return _of_parquets(files)
    pictures = find_pictures(path).pictures if path.is_dir() else []
    if not pictures:
        raise DataError(f"{path}: holds no pictures to compare with")
    return (_row(file.read_bytes(), printable(file.relative_to(path)), str(file.parent)) for file in pictures)


def pick(rows: Iterable[ImageRow | Rejected], digests: set[str], max_pixels: int) -> dict[str, Image.Image]:
    """Decode the pictures of these digests once more, small; reads no further than the last of them."""
    found: dict[str, Image.Image] = {}
    for row in rows:
        if isinstance(row, ImageRow) and row.sha256 in digests and row.sha256 not in found:
            found[row.sha256] = small(row.data, max_pixels)
        if len(found) == len(digests):
            break
    return found


def small(data: bytes, max_pixels: int) -> Image.Image:
    """Decode a picture and shrink it to THUMBNAIL px."""
    image = decode(data, max_pixels=max_pixels, min_side=1)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image


def _of_parquets(files: list[Path]) -> Iterator[ImageRow]:
    for path in files:
        if "image" not in read_schema(path).names:
            raise DataError(f"{path}: missing column 'image'")
        for number, record in enumerate(read_records(path, ["image"])):
            image, name = record["image"], f"{path.name}#{number}"
            data = image.get("bytes") if isinstance(image, dict) else image
            if data is not None:
                yield _row(data, (isinstance(image, dict) and image.get("path")) or name, str(path))


def _row(data: bytes, name: str, origin: str) -> ImageRow:
    digest = sha256(data)
    return ImageRow(data, name, 0, digest, place=digest, origin=origin)
