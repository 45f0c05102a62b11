"""COCO files as a source of boxes, with the classes of the ROADWork dataset turned into ours.

ROADWork (Ghosh et al., ICCV 2025; data ODC-BY 1.0, https://doi.org/10.1184/R1/26093197) names 19 classes in its
`instances_{train,val}_gps_split.json`; its pictures lie beside them in `images/`.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from tasks.common.files import read_json, sha256
from tasks.data.annotated_images import AnnotatedImage, boxes_of
from tasks.data.object_names import OBJECT_NAMES, object_name
from tasks.data.schema import DataError


def read_coco(annotations: Path, images: Path, left_out: Path | None = None) -> list[AnnotatedImage]:
    """Read a COCO file.

    Crowd regions and classes that are no evidence of roadworks are passed over. A picture whose file is missing is an
    error, not a smaller data set. A picture without objects of ours counts as clear.

    Args:
        annotations: JSON with `images`, `annotations` and `categories`.
        images: the folder that `file_name` is relative to.
        left_out: a text file with the `file_name` of pictures that are passed over, one a line.

    Raises:
        DataError: the file is no COCO file, there is no such list, a class is unknown, a box is broken, or a picture is
            missing or lies outside the folder.
    """
    try:
        document = read_json(annotations)
        names = {int(item["id"]): str(item["name"]) for item in document["categories"]}
        entries = {int(item["id"]): str(item["file_name"]) for item in document["images"]}
        objects = _objects(document["annotations"], names, annotations)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{annotations}: not a COCO file that can be read: {error!r}") from None
    folder, passed = images.absolute(), _names(left_out)
    return [
        _picture(name, folder, objects[number], annotations)
        for number, name in sorted(entries.items())
        if name not in passed
    ]


def _names(path: Path | None) -> set[str]:
    if path is None:
        return set()
    try:
        return set(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the list of detect.coco.left_out cannot be read: {error}") from None


def _objects(items: list[dict[str, Any]], names: dict[int, str], path: Path) -> defaultdict[int, list[dict[str, Any]]]:
    """Boxes by picture, under our names."""
    found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        name = names.get(int(item["category_id"]), "")
        ours = object_name(name)
        if ours is None:
            known = ", ".join(sorted(OBJECT_NAMES))
            raise DataError(f"{path}: class {name!r} is unknown; rename it to one of {known}")
        if ours and not item.get("iscrowd"):
            found[int(item["image_id"])].append({"category": ours, "bbox": item["bbox"]})
    return found


def _picture(name: str, folder: Path, objects: list[dict[str, Any]], path: Path) -> AnnotatedImage:
    file = folder / name
    # by name, not by `resolve`: a picture may be a link, as into DVC's cache
    if ".." in Path(name).parts or not file.is_relative_to(folder):
        raise DataError(f"{path}: {name!r} leads out of {folder}")
    if not file.is_file():
        raise DataError(f"{path}: {file} is missing; unpack the pictures there or correct `images`")
    corners, classes = boxes_of(objects, f"{path}: {name}")
    return AnnotatedImage(
        file, sha256(name.encode()), f"coco-{Path(name).stem}", int(bool(len(classes))), corners, classes
    )
