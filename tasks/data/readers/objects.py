"""Boxes as parquet files hold them: a list of structs, or as `datasets` writes them a struct of lists."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.data.object_names import OBJECT_NAMES, object_name
from tasks.data.schema import DataError, is_list, is_text

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN = "objects"


class ObjectReader:
    """Turns one file's column `objects` into our boxes.

    Args:
        path: the file, for messages.
        kind: the column's type.
        names: classes by number, where the file's metadata has them.

    Raises:
        DataError: there is no category or bbox, categories are numbers without names, or a name is unknown.
    """

    def __init__(self, path: Path, kind: pa.DataType, names: list[str] | None) -> None:
        self._path, self._names = path, names
        category = _category(path, kind)
        if not is_text(category) and names is None:
            raise DataError(
                f"{path}: column 'objects.category' is {category} without names; write names ({_known()}), or a "
                "ClassLabel into the file's `huggingface` metadata"
            )
        for name in names or ():
            self._ours(name)

    def read(self, value: Any) -> tuple[dict[str, Any], ...]:
        """Turn one row's objects into boxes; objects that are no evidence of roadworks are left out.

        Raises:
            ValueError: a box is not four finite numbers of positive size, or its category has no name.
            DataError: a category is unknown.
        """
        found = ((self._ours(self._name(category)), _box(bbox)) for category, bbox in _pairs(value))
        return tuple({"category": name, "bbox": bbox} for name, bbox in found if name)

    def _name(self, category: Any) -> str:
        if isinstance(category, str):
            return category
        if category is None or self._names is None or not 0 <= category < len(self._names):
            raise ValueError(f"category is {category}, which has no name")
        return str(self._names[category])

    def _ours(self, name: str) -> str:
        ours = object_name(name)
        if ours is None:
            raise DataError(
                f"{self._path}: column 'objects.category': {name!r} is unknown; rename it to one of {_known()}"
            )
        return ours


def _known() -> str:
    return ", ".join(dict.fromkeys(OBJECT_NAMES.values()))


def _category(path: Path, kind: pa.DataType) -> pa.DataType:
    """The type of one category, from either layout."""
    import pyarrow as pa

    inner = kind.value_type if is_list(kind) else kind
    fields = (
        {inner.field(i).name: inner.field(i).type for i in range(inner.num_fields)} if pa.types.is_struct(inner) else {}
    )
    if inner is kind:
        fields = {name: item.value_type for name, item in fields.items() if is_list(item)}
    if missing := [name for name in ("category", "bbox") if name not in fields]:
        raise DataError(
            f"{path}: column 'objects' is {kind}; expected a list of boxes with category and bbox "
            f"(missing: {', '.join(missing)})"
        )
    if not (is_text(fields["category"]) or pa.types.is_integer(fields["category"])):
        raise DataError(
            f"{path}: column 'objects.category' is {fields['category']}; expected names, or numbers of a ClassLabel"
        )
    return fields["category"]


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from zip(value["category"] or (), value["bbox"] or (), strict=True)
    else:
        for item in value or ():
            yield item["category"], item["bbox"]


def _box(bbox: Any) -> list[float]:
    numbers = [float(number) for number in bbox or ()]
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)) or min(numbers[2:]) <= 0:
        raise ValueError(f"{bbox} is no box of x, y, width, height")
    return numbers
