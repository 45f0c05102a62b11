"""Labels that have names: a ClassLabel's order is its writer's, alphabetical as `imagefolder` makes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cascade.labelled.class_names import ClassNames
from tasks.config import DataSource
from tasks.data.readers import Rejected, read_path, read_rows
from tasks.data.schema import DataError, ImageRow
from tests.support.drawn import encode, street

CLASS = "ClassLabel"


def write(path: Path, labels: list[Any], names: list[str] | None, **more: Any) -> Path:
    """A parquet file with one picture a label, and the metadata that `datasets` would write."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pictures = [{"bytes": encode(street(number)[0]), "path": f"{number}.jpg"} for number in range(len(labels))]
    table = pa.table({"image": pictures, "label": labels})
    feature = {"dtype": "int64", "_type": "Value"} if names is None else {"names": names, "_type": CLASS}
    document = {"info": {"features": {"image": {"_type": "Image"}, "label": {**feature, **more}}}}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(document)}), path)
    return path


def labels_of(path: Path, classes: ClassNames | None = None) -> list[int | str]:
    """The label of each row, or the reason why it has none."""
    rows = read_path(path, classes or ClassNames())
    return [row.label if isinstance(row, ImageRow) else row.reason for row in rows]


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        # alphabetical: the reverse of ours
        (["roadwork", "street"], [0, 1], [1, 0]),
        (["clear", "roadwork"], [0, 1], [0, 1]),
        (["No Roadwork", "Roadwork"], [0, 1], [0, 1]),
        (["construction", "normal"], [0, 1, 0], [1, 0, 1]),
        # numbers as names, in either order
        (["0", "1"], [0, 1], [0, 1]),
        (["1", "0"], [0, 1], [1, 0]),
        # three names of two classes
        (["clear", "roadwork", "works"], [0, 1, 2], [0, 1, 1]),
        # `datasets` writes -1 where nobody labelled
        (["roadwork", "street"], [-1, 0], ["bad_label", 1]),
        (["roadwork", "street"], [2, None], ["bad_label", "bad_label"]),
        # plain integers
        (None, [0, 1, 2], [0, 1, "bad_label"]),
    ],
)
def test_labels_are_mapped_by_name(
    tmp_path: Path, names: list[str] | None, labels: list[Any], expected: list[int | str]
) -> None:
    assert labels_of(write(tmp_path / "mine.parquet", labels, names)) == expected


@pytest.mark.parametrize("names", [["cat", "dog"], ["roadwork", "other"], [str(n) for n in range(13)]])
def test_unknown_names_are_refused_with_what_to_set(tmp_path: Path, names: list[str]) -> None:
    path = write(tmp_path / "mine.parquet", [0, 1], names)
    with pytest.raises(DataError, match=r"mine\.parquet: column 'label' has the classes .*pull\.data\.classes"):
        read_path(path)


def test_the_setting_says_what_names_mean(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.parquet", [0, 1, 2], ["baustelle", "frei", "unsure"])
    source = DataSource.model_validate(
        {
            "source": "sample",
            "repo": "x",
            "path": str(path),
            "classes": {"roadwork": ["Baustelle"], "clear": ["frei"], "left_out": ["unsure"]},
        }
    )
    first, second, third = read_rows(source)
    assert isinstance(first, ImageRow)
    assert isinstance(second, ImageRow)
    assert (first.label, second.label) == (1, 0)
    assert isinstance(third, Rejected)
    assert third.reason == "class"


def test_the_setting_turns_plain_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.parquet", [0, 1], None)
    assert labels_of(path, ClassNames(roadwork=["0"], clear=["1"])) == [1, 0]


def test_every_file_has_its_own_order(tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00001.parquet", [0, 1], ["roadwork", "street"])
    write(tmp_path / "test-00000-of-00001.parquet", [0, 1], ["street", "roadwork"])
    # the challenge split is read first
    assert labels_of(tmp_path) == [0, 1, 1, 0]


CARD = "---\nlicense: mit\n{info}---\n# A set\n---\n"
FEATURES = """  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': roadwork
          '1': street
"""


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (f"dataset_info:\n{FEATURES}", [1, 0]),
        # a set of several configurations
        (f"dataset_info:\n- config_name: default\n{FEATURES}", [1, 0]),
        # says nothing of labels
        ("", [0, 1]),
    ],
)
def test_the_card_tells_where_the_file_does_not(tmp_path: Path, info: str, expected: list[int]) -> None:
    import pyarrow.parquet as pq

    path = write(tmp_path / "data" / "train.parquet", [0, 1], None)
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    (tmp_path / "README.md").write_text(CARD.format(info=info))
    assert labels_of(tmp_path) == expected


def test_the_file_goes_before_the_card(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [0, 1], None)
    (tmp_path / "README.md").write_text(CARD.format(info=f"dataset_info:\n{FEATURES}"))
    assert labels_of(tmp_path) == [0, 1]


@pytest.mark.parametrize("text", ["{", "[]", '{"info": {"features": 3}}'])
def test_metadata_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    import pyarrow.parquet as pq

    path = write(tmp_path / "mine.parquet", [0, 1], None)
    pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": text}), path)
    with pytest.raises(DataError, match=r"mine\.parquet: the metadata key 'huggingface' cannot be read"):
        read_path(path)
