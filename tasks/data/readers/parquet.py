"""Parquet files as a source: ours, NATIX's, and what `datasets` writes, each checked before the first row is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.labelled.class_names import COMMON, ClassNames
from cascade.labelled.files import files_below
from tasks.common.files import sha256
from tasks.data.readers.features import label_names, label_table, names_in, read_features
from tasks.data.readers.natix import Columns, columns_of
from tasks.data.readers.objects import COLUMN, ObjectReader
from tasks.data.readers.rows import ORDER, Rejected, split_of
from tasks.data.readers.splits import is_divided, open_splits, share_out, split_of_place
from tasks.data.schema import DataError, ImageRow, check_columns, check_texts, read_records, read_schema


@dataclass(frozen=True)
class Table:
    """One file, and how its rows are read.

    Attributes:
        path: the file.
        split: the one that its name tells, or empty.
        columns: which of them hold what.
        labels: label by number; None for a class that is left out.
        objects: reads boxes; None where there are none.
    """

    path: Path
    split: str
    columns: Columns
    labels: Mapping[int, int | None]
    objects: ObjectReader | None

    def label(self, record: Mapping[str, Any]) -> int | None:
        """0 or 1, or None where the row has no usable label."""
        value = record["label"]
        return None if value is None else self.labels.get(int(value))


def parquet_files(folder: Path) -> list[Path]:
    """The parquet files below a folder in reading order; what macOS and hidden folders hold beside them is none.

    Links to folders are followed.
    """
    files = [path for path in files_below(folder, []) if path.suffix == ".parquet" and path.is_file()]
    return sorted(files, key=lambda path: (_rank(path), str(path)))


def _rank(path: Path) -> int:
    split = split_of(path)
    return ORDER.index(split) if split else len(ORDER)


def read_parquets(files: Sequence[Path], classes: ClassNames = COMMON, seed: int = 0) -> Iterator[ImageRow | Rejected]:
    """Read parquet files.

    A file named after a split is that split. Where calibration or challenge has no file, and for files of other names,
    places are shared out (see `splits`); a row whose place lies in a split that has its own file is rejected.

    Args:
        files: in reading order.
        classes: names of labels.
        seed: of the sharing.

    Raises:
        DataError: a file cannot be read, its columns do not fit, or its classes are unknown.
    """
    tables = [_open(path, classes) for path in files]
    return _rows(tables, seed)


def _open(path: Path, classes: ClassNames) -> Table:
    schema = read_schema(path)
    check_columns(path, schema)
    columns = columns_of(schema.names)
    check_texts(path, schema, columns.texts)
    labels = label_table(path, label_names(path, schema), classes)
    objects = None
    if COLUMN in schema.names:
        names = names_in(read_features(path, schema).get(COLUMN), "category")
        objects = ObjectReader(path, schema.field(COLUMN).type, names)
    return Table(path, split_of(path), columns, labels, objects)


def _rows(tables: Sequence[Table], seed: int) -> Iterator[ImageRow | Rejected]:
    named = {table.split for table in tables if table.split}
    splits = open_splits(named)
    places = _Places(tables, named, splits, seed)
    for table in tables:
        divided = is_divided(table.split, named)
        for number, record in enumerate(read_records(table.path)):
            row = _row(table, record, f"{table.path.name}#{number}")
            yield places.assign(row) if divided and isinstance(row, ImageRow) else row


class _Places:
    """Splits by place, chosen before the first picture is read, from the columns that tell places and labels."""

    def __init__(self, tables: Sequence[Table], named: set[str], splits: Sequence[str], seed: int) -> None:
        self._splits, self._seed = splits, seed
        divided = [table for table in tables if is_divided(table.split, named)]
        fixed = [table for table in tables if table not in divided] if divided else []
        self._fixed = {place: table.split for table in fixed for place, _ in _places(table)}
        labels: dict[str, set[int]] = {}
        for table in divided:
            for place, label in _places(table):
                if place not in self._fixed:
                    labels.setdefault(place, set()).add(label)
        self._chosen = share_out(labels, splits, seed)

    def assign(self, row: ImageRow) -> ImageRow | Rejected:
        """Give a row its split; reject one whose place a file has taken for another split."""
        if home := self._fixed.get(row.place):
            detail = f"place {row.place!r} lies in {home}, which has its own file"
            return Rejected(row.origin, row.name, "place_taken", detail)
        split = self._chosen.get(row.place) or split_of_place(row.place, self._splits, self._seed)
        return row.in_split(split, chosen=row.place in self._chosen)


def _places(table: Table) -> Iterator[tuple[str, int]]:
    """Place and label of the rows that can be used, without their pictures."""
    columns = table.columns
    if columns.place is None:
        return
    wanted = ["label", columns.place, *(["scene_description"] if columns.filtered else [])]
    for record in read_records(table.path, wanted, batch=4096):
        place, label = columns.place_of(record), table.label(record)
        if place and label is not None and not columns.contradiction(record, label):
            yield place, label


def _row(table: Table, record: dict[str, Any], fallback: str) -> ImageRow | Rejected:
    image, source = record["image"], str(table.path)
    data = image.get("bytes") if isinstance(image, dict) else image
    name = (image.get("path") if isinstance(image, dict) else None) or fallback
    label = table.label(record)
    if data is None:
        return Rejected(source, name, "empty", "the row holds no image bytes")
    if label is None:
        return Rejected(source, name, *_no_label(table, record["label"]))
    if contradiction := table.columns.contradiction(record, label):
        return Rejected(source, name, "description", contradiction)
    try:
        objects = table.objects.read(record[COLUMN]) if table.objects else ()
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        return Rejected(source, name, "bad_objects", str(error))
    digest = sha256(data)
    return ImageRow(
        data=data,
        name=name,
        label=label,
        sha256=digest,
        place=table.columns.place_of(record) or digest,
        split=table.split,
        scene_description=record.get("scene_description") or "",
        source=record.get("source") or "real",
        objects=objects,
        slices=table.columns.slices_of(record),
        origin=source,
    )


def _no_label(table: Table, value: Any) -> tuple[str, str]:
    if value in table.labels:
        return "class", f"class {value} is left out by name"
    return "bad_label", f"label is {value}; expected one of {', '.join(map(str, table.labels))}"
