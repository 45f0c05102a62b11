"""The columns of the data: NATIX's three columns and ours, as parquet, one file a split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = ("train", "calibration", "pool", "challenge")
REQUIRED = ("image", "label")
LFS = b"version https://git-lfs"
SLICES = ("time", "weather", "distance", "road", "region")
PASTED = "pasted"  # first part of the source of photographs with works pasted in, and of those beside them


class DataError(ValueError):
    """The data cannot be used as it is; the message names the file and what to change."""


@dataclass(frozen=True)
class ImageRow:
    """One labelled image.

    Attributes:
        data: the image file's bytes.
        name: what people call it: its file name, or its place in a parquet file.
        label: 0 none, 1 roadwork.
        place: split key: images of one place never lie in two splits.
        split: one of SPLITS, or "" where the source does not say.
        objects: COCO-style boxes, {"category": str, "bbox": [x, y, w, h] in px}.
        origin: file or folder that it was read from, for reports.
        chosen: whether we chose the split, by a place that the source names.
    """

    data: bytes
    name: str
    label: int
    sha256: str
    place: str
    split: str = ""
    scene_description: str = ""
    source: str = "real"
    objects: tuple[dict[str, Any], ...] = ()
    slices: dict[str, str] = field(default_factory=dict)
    origin: str = field(default="", compare=False, repr=False)
    chosen: bool = field(default=False, compare=False, repr=False)

    def in_split(self, split: str, *, chosen: bool = False) -> ImageRow:
        """The same row in a split."""
        return replace(self, split=split, chosen=chosen)

    def to_record(self) -> dict[str, Any]:
        """Give the row under the columns of `arrow_schema`."""
        return {
            "image": {"bytes": self.data, "path": self.name},
            "label": self.label,
            "scene_description": self.scene_description,
            "objects": list(self.objects),
            "source": self.source,
            "place": self.place,
            "sha256": self.sha256,
            **{name: self.slices.get(name, "") for name in SLICES},
        }


def arrow_schema() -> pa.Schema:
    """The columns of every file in data/sample and data/pulled."""
    import pyarrow as pa

    box = pa.struct([("category", pa.string()), ("bbox", pa.list_(pa.float32()))])
    return pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
            ("scene_description", pa.string()),
            ("objects", pa.list_(box)),
            ("source", pa.string()),
            ("place", pa.string()),
            ("sha256", pa.string()),
            *[(name, pa.string()) for name in SLICES],
        ]
    )


def check_columns(path: Path, schema: pa.Schema) -> None:
    """Refuse a parquet file whose columns do not fit.

    Args:
        path: for the message.
        schema: what the file has.

    Raises:
        DataError: names each column that is missing or of another type.
    """
    import pyarrow as pa

    missing = [name for name in REQUIRED if name not in schema.names]
    if missing:
        raise DataError(f"{path}: missing column {', '.join(map(repr, missing))}; it has {', '.join(schema.names)}")
    image, label = schema.field("image").type, schema.field("label").type
    if not (_is_bytes(image) or _has_bytes(image)):
        raise DataError(f"{path}: column 'image' is {image}; expected bytes, or a struct with 'bytes' and 'path'")
    if not (pa.types.is_integer(label) or pa.types.is_boolean(label)):
        raise DataError(f"{path}: column 'label' is {label}; expected integers, 0 none and 1 roadwork")
    _check_optional(path, schema)


def _is_bytes(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _has_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_struct(kind) and any(kind.field(i).name == "bytes" for i in range(kind.num_fields))


def _check_optional(path: Path, schema: pa.Schema) -> None:
    import pyarrow as pa

    check_texts(path, schema, ("scene_description", "source", "place", *SLICES))
    if "objects" in schema.names:
        kind = schema.field("objects").type
        if not (is_list(kind) or pa.types.is_struct(kind)):
            raise DataError(f"{path}: column 'objects' is {kind}; expected a list of boxes")


def check_texts(path: Path, schema: pa.Schema, names: Iterable[str]) -> None:
    """Refuse a file in which one of these columns is there and no string.

    Raises:
        DataError: names the column and its type.
    """
    import pyarrow as pa

    for name in names:
        if name in schema.names:
            kind = schema.field(name).type
            if not (is_text(kind) or pa.types.is_null(kind)):
                raise DataError(f"{path}: column {name!r} is {kind}; expected strings")


def is_text(kind: pa.DataType) -> bool:
    """Whether values are read as strings: all encodings of them, those of pandas' categories too."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Whether values are read as lists, however their lengths are kept."""
    import pyarrow.types as types

    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return any(test(kind) for test in tests)


def read_schema(path: Path) -> pa.Schema:
    """The columns of a parquet file.

    Raises:
        DataError: it is missing or no parquet; a pointer of git-lfs is named as such.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: {_unreadable(path, error)}") from None


def _unreadable(path: Path, error: Exception) -> str:
    with suppress(OSError), path.open("rb") as file:
        if file.read(len(LFS)) == LFS:
            return "a pointer of git-lfs and not the file itself; `git lfs pull` fetches it"
    return f"not a parquet file that can be read: {error}"


def read_records(path: Path, columns: list[str] | None = None, batch: int = 64) -> Iterator[dict[str, Any]]:
    """Give a parquet file's rows one at a time, in order, reading a few at once so that large files fit in memory.

    Raises:
        DataError: the file is missing or no parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: {_unreadable(path, error)}") from None
    with file:
        for piece in file.iter_batches(batch_size=batch, columns=columns):
            yield from piece.to_pylist()


def split_file(folder: Path, split: str) -> Path:
    """Where a split lies in a data folder."""
    return folder / f"{split}.parquet"
