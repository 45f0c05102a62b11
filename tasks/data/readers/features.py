"""Names of classes that a data set of Hugging Face carries along: in its parquet files' metadata, or in its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.labelled.class_names import ClassNames
from tasks.data.schema import DataError

if TYPE_CHECKING:
    import pyarrow as pa

CARD = "README.md"
SETTING = "pull.data.classes: {roadwork: [...], clear: [...], left_out: [...]} in params.yaml says which is which"


def read_features(path: Path, schema: pa.Schema) -> dict[str, Any]:
    """The `features` of a parquet file's key `huggingface`; empty where it has none.

    Raises:
        DataError: the key is there and cannot be read: what numbers mean would be a guess.
    """
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        features = json.loads(text).get("info", {}).get("features") or {}
        return dict(features)
    except (ValueError, AttributeError, TypeError):
        raise DataError(f"{path}: the metadata key 'huggingface' cannot be read, and with it the classes") from None


def names_in(feature: Any, *keys: str) -> list[str] | None:
    """The names of a ClassLabel, by its number; None where the feature, or its part below `keys`, is none.

    Args:
        feature: as `datasets` writes it; lists of features are a list, or a dict with the key `feature`.
        keys: the way down through structs.
    """
    if isinstance(feature, list):
        return names_in(feature[0], *keys) if feature else None
    if not isinstance(feature, dict):
        return None
    if "feature" in feature and "_type" in feature:
        return names_in(feature["feature"], *keys)
    if keys:
        return names_in(feature.get(keys[0]), *keys[1:])
    names = feature.get("names")
    return [str(name) for name in names] if isinstance(names, list) else None


def label_names(path: Path, schema: pa.Schema) -> list[str] | None:
    """The names of a file's labels, by their number: of its metadata, else of the data set's card."""
    features = read_features(path, schema)
    return names_in(features.get("label")) or (None if "label" in features else _card_names(path))


def label_table(path: Path, names: list[str] | None, classes: ClassNames) -> Mapping[int, int | None]:
    """What each number of the column `label` means: 0, 1, or None for a class that is left out.

    Raises:
        DataError: a name is none that we know, or two classes are left of which both are the same label.
    """
    if names is None:
        return {number: None if classes.is_left_out(str(number)) else classes.label(str(number)) for number in (0, 1)}
    unknown = [name for name in names if classes.label(name) is None and not classes.is_left_out(name)]
    if unknown:
        raise DataError(
            f"{path}: column 'label' has the classes {', '.join(names)}; {unknown[0]!r} is unknown: {SETTING}"
        )
    return {number: classes.label(name) for number, name in enumerate(names)}


def _card_names(path: Path) -> list[str] | None:
    """The names in the YAML head of the README beside a parquet file, or one folder up; None where it has none."""
    for folder in (path.parent, path.parent.parent):
        try:
            text = (folder / CARD).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        return _in_card(folder / CARD, text)
    return None


def _in_card(card: Path, text: str) -> list[str] | None:
    import yaml

    head = text.split("---")[1] if text.startswith("---") else ""
    try:
        info = (yaml.safe_load(head) or {}).get("dataset_info") or {}
        features = (info[0] if isinstance(info, list) else info).get("features") or []
        found = next((item.get("dtype") for item in features if item.get("name") == "label"), None)
        names = found["class_label"]["names"] if isinstance(found, dict) else None
        return [str(names[key]) for key in sorted(names, key=int)] if names else None
    except (yaml.YAMLError, AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise DataError(f"{card}: its head cannot be read, and with it the classes; mend it or remove it") from None
