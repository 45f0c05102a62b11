"""Boxes in the layouts that other people's files have, and files that only look like data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.data.readers import Rejected, read_path
from tasks.data.schema import DataError, ImageRow, arrow_schema
from tests.support.drawn import encode, street

BOX = [10.0, 20.0, 30.0, 40.0]
NAMES = ["cone", "drum", "road"]


def write(path: Path, objects: list[Any], kind: Any, names: Any = None) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pictures = [encode(street(number)[0]) for number in range(len(objects))]
    columns = {"image": pa.array(pictures, pa.large_binary()), "label": [1] * len(objects)}
    table = pa.table({**columns, "objects": pa.array(objects, kind)})
    if names is not None:
        document = {"info": {"features": {"label": {"dtype": "int64", "_type": "Value"}, "objects": names}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(document)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def kinds() -> dict[str, Any]:
    import pyarrow as pa

    text, whole = (
        pa.struct([("category", kind), ("bbox", pa.list_(pa.float64()))]) for kind in (pa.string(), pa.int64())
    )
    return {
        "list": pa.list_(text),
        "large_list": pa.large_list(
            pa.struct([("bbox", pa.large_list(pa.float32())), ("category", pa.large_string())])
        ),
        "fixed": pa.list_(pa.struct([("category", pa.string()), ("bbox", pa.list_(pa.float32(), 4))])),
        "whole boxes": pa.list_(pa.struct([("category", pa.string()), ("bbox", pa.list_(pa.int64()))])),
        "numbers": pa.list_(whole),
        "columns": pa.struct([("category", pa.list_(pa.int64())), ("bbox", pa.list_(pa.list_(pa.float32())))]),
        "named columns": pa.struct([("bbox", pa.list_(pa.list_(pa.float32()))), ("category", pa.list_(pa.string()))]),
    }


LABELS = {"names": NAMES, "_type": "ClassLabel"}
# how `datasets` described lists of structs over the years
FEATURES = [
    [{"category": LABELS, "bbox": {}}],
    {"feature": {"category": LABELS, "bbox": {}}, "_type": "Sequence"},
    {"category": {"feature": LABELS, "_type": "List"}, "bbox": {}},
]


@pytest.mark.parametrize("kind", ["list", "large_list", "fixed", "whole boxes"])
def test_named_boxes_are_read(tmp_path: Path, kind: str) -> None:
    import pyarrow as pa

    path = write(tmp_path / "a.parquet", [[{"category": "drum", "bbox": BOX}], [], None], kinds()[kind])
    rows = [row for row in read_path(path) if isinstance(row, ImageRow)]
    assert [row.objects for row in rows] == [({"category": "drum", "bbox": BOX},), (), ()]
    # what comes next is our own schema
    pa.Table.from_pylist([row.to_record() for row in rows], arrow_schema())


@pytest.mark.parametrize("features", FEATURES)
def test_numbers_are_mapped_by_their_names(tmp_path: Path, features: Any) -> None:
    objects = [[{"category": 1, "bbox": BOX}, {"category": 2, "bbox": BOX}]]
    (row,) = read_path(write(tmp_path / "a.parquet", objects, kinds()["numbers"], features))
    assert isinstance(row, ImageRow)
    # a road is no evidence of roadworks
    assert row.objects == ({"category": "drum", "bbox": BOX},)


@pytest.mark.parametrize(("kind", "category"), [("columns", 0), ("named columns", "cone")])
def test_a_struct_of_lists_is_read(tmp_path: Path, kind: str, category: Any) -> None:
    objects = [{"category": [category] * 2, "bbox": [BOX, BOX]}, {"category": [], "bbox": []}, None]
    rows = read_path(write(tmp_path / "a.parquet", objects, kinds()[kind], FEATURES[2]))
    assert [len(row.objects) for row in rows if isinstance(row, ImageRow)] == [2, 0, 0]


@pytest.mark.parametrize("kind", ["numbers", "columns"])
def test_numbers_without_names_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    objects = [[{"category": 1, "bbox": BOX}]] if kind == "numbers" else [{"category": [1], "bbox": [BOX]}]
    path = write(tmp_path / "a.parquet", objects, kinds()[kind])
    with pytest.raises(DataError, match=r"a\.parquet: column 'objects\.category' is int64 without names") as caught:
        read_path(path)
    assert "\n" not in str(caught.value)


def test_names_that_are_unknown_are_refused(tmp_path: Path) -> None:
    numbers = write(
        tmp_path / "a.parquet", [[{"category": 0, "bbox": BOX}]], kinds()["numbers"],
        [{"category": {"names": ["cat"], "_type": "ClassLabel"}}],
    )  # fmt: skip
    with pytest.raises(DataError, match=r"a\.parquet: column 'objects\.category': 'cat' is unknown"):
        read_path(numbers)
    names = write(tmp_path / "b.parquet", [[{"category": "car", "bbox": BOX}]], kinds()["list"])
    with pytest.raises(DataError, match=r"b\.parquet: column 'objects\.category': 'car' is unknown"):
        list(read_path(names))


@pytest.mark.parametrize(
    "kind",
    [
        # no box
        {"category": "string"},
        # no category
        {"bbox": "list"},
        {"category": "double", "bbox": "list"},
    ],
)
def test_other_structs_are_refused_by_column(tmp_path: Path, kind: dict[str, str]) -> None:
    import pyarrow as pa

    types = {"string": pa.string(), "list": pa.list_(pa.float32()), "double": pa.float64()}
    struct = pa.struct([(name, types[value]) for name, value in kind.items()])
    with pytest.raises(DataError, match="column 'objects"):
        read_path(write(tmp_path / "a.parquet", [[]], pa.list_(struct)))


@pytest.mark.parametrize("bbox", [[1, 2, 3], [1, 2, 3, 0], [1, 2, float("nan"), 4], None, [1, 2, 3, 4, 5]])
def test_a_broken_box_rejects_its_picture(tmp_path: Path, bbox: Any) -> None:
    objects = [[{"category": "cone", "bbox": bbox}], [{"category": "cone", "bbox": BOX}]]
    bad, good = read_path(write(tmp_path / "a.parquet", objects, kinds()["list"]))
    assert isinstance(bad, Rejected)
    assert bad.reason == "bad_objects"
    assert isinstance(good, ImageRow)


def test_numbers_beyond_their_names_reject_the_picture(tmp_path: Path) -> None:
    (bad,) = read_path(write(tmp_path / "a.parquet", [[{"category": 9, "bbox": BOX}]], kinds()["numbers"], FEATURES[0]))
    assert isinstance(bad, Rejected)


@pytest.mark.parametrize("name", ["._train.parquet", ".cache/train.parquet", "__MACOSX/._train.parquet"])
def test_files_of_the_system_beside_the_real_one_are_ignored(tmp_path: Path, name: str) -> None:
    write(tmp_path / "train.parquet", [[]], kinds()["list"])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"\0\5\x16\7Mac OS X")
    assert len(list(read_path(tmp_path))) == 1


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(DataError, match=r"train\.parquet: a pointer of git-lfs .*`git lfs pull`"):
        read_path(tmp_path)


def test_arrow_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "data-00000-of-00001.arrow").write_bytes(b"ARROW1")
    with pytest.raises(DataError, match="Arrow files of `save_to_disk` are not read"):
        read_path(tmp_path)
