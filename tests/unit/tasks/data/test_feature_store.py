"""The feature store: what it keeps, what it drops, and what a kill leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.data.feature_store import FeatureStore, load_split
from tasks.data.schema import DataError

PRINT = {"layer": 9}


def vectors(*names: str) -> dict[str, np.ndarray]:
    return {name: np.full(4, float(int(name[:4], 16)), dtype=np.float32) for name in names}


def index(*digests: str) -> dict:
    names = list(digests)
    split = {"sha256": names, "place": names, "source": names, "label": [1] * len(names), "views": ["0.0"]}
    return {"fingerprint": PRINT, "splits": {"train": split}}


def filled(folder: Path, *digests: str) -> None:
    store = FeatureStore(folder, PRINT)
    keys = [f"{digest}/0.0" for digest in digests]
    store.add(vectors(*[key for key in keys if key not in store]))
    store.finish(keys, index(*digests))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_round_trip(tmp_path: Path) -> None:
    filled(tmp_path, "ab01", "ab02", "cd01")
    split = load_split(tmp_path, "train")
    assert split.x.shape == (3, 1, 4)
    assert split.x[:, 0, 0].tolist() == [0xAB01, 0xAB02, 0xCD01]
    assert split.label.tolist() == [1, 1, 1]
    assert split.source == ["ab01", "ab02", "cd01"]
    some = split.only(np.array([True, False, True]))
    assert (some.sha256, some.source, some.x[:, 0, 0].tolist()) == (["ab01", "cd01"], ["ab01", "cd01"], [0xAB01, 0xCD01])


@pytest.mark.parametrize(
    "history",
    [
        # in another order
        [("cd01", "ab02"), ("ab01", "ab02", "cd01")],
        # with a picture that is gone by now, and alone in its shard
        [("ab01", "ef01"), ("ab01", "ab02", "cd01")],
        # the same again
        [("ab01", "ab02", "cd01"), ("ab01", "ab02", "cd01")],
    ],
)
def test_folder_follows_from_what_is_wanted_alone(tmp_path: Path, history: list[tuple[str, ...]]) -> None:
    filled(tmp_path / "fresh", "ab01", "ab02", "cd01")
    for digests in history:
        filled(tmp_path / "old", *digests)
    assert content(tmp_path / "old") == content(tmp_path / "fresh")


def test_parts_of_a_killed_run_are_used(tmp_path: Path) -> None:
    FeatureStore(tmp_path, PRINT).add(vectors("ab01/0.0"))
    # half a part and half a shard, as a kill leaves them
    (tmp_path / "parts" / ".000001.safetensors.partial").write_bytes(b"half")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / ".ab.safetensors.partial").write_bytes(b"half")
    (tmp_path / ".index.json.partial").write_bytes(b"{")
    store = FeatureStore(tmp_path, PRINT)
    assert "ab01/0.0" in store
    assert "ab02/0.0" not in store
    filled(tmp_path, "ab01", "ab02")
    filled(tmp_path.with_name("fresh"), "ab01", "ab02")
    assert content(tmp_path) == content(tmp_path.with_name("fresh"))


def test_other_fingerprint_forgets_everything(tmp_path: Path) -> None:
    filled(tmp_path, "ab01")
    assert "ab01/0.0" not in FeatureStore(tmp_path, {"layer": 8})
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_damaged_fingerprint_is_that_of_other_features(tmp_path: Path, text: str) -> None:
    filled(tmp_path, "ab01")
    (tmp_path / "fingerprint.json").write_text(text)
    assert "ab01/0.0" not in FeatureStore(tmp_path, PRINT)
    filled(tmp_path, "ab01")
    assert load_split(tmp_path, "train").x.shape == (1, 1, 4)


def test_damaged_shard_is_dropped_not_trusted(tmp_path: Path) -> None:
    filled(tmp_path, "ab01", "cd01")
    shard = tmp_path / "shards" / "ab.safetensors"
    shard.write_bytes(shard.read_bytes()[:40])
    store = FeatureStore(tmp_path, PRINT)
    assert "ab01/0.0" not in store
    assert "cd01/0.0" in store


@pytest.mark.parametrize("split", ["train", "challenge"])
def test_missing_features_say_what_to_run(tmp_path: Path, split: str) -> None:
    if split == "challenge":
        filled(tmp_path, "ab01")
    with pytest.raises(DataError, match=r"index\.json"):
        load_split(tmp_path, split)


def test_a_second_folder_follows_in_order_and_an_empty_one_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "pulled", "cd01", "ab01")
    filled(tmp_path / "new", "ab02", "ab01")
    filled(tmp_path / "none")
    both = load_split(tmp_path / "pulled", "train", more=tmp_path / "new")
    assert both.sha256 == ["cd01", "ab01", "ab02", "ab01"]
    assert both.x[:, 0, 0].tolist() == [0xCD01, 0xAB01, 0xAB02, 0xAB01]
    assert load_split(tmp_path / "pulled", "train", more=tmp_path / "none").sha256 == ["cd01", "ab01"]
    assert load_split(tmp_path / "none", "train").x.shape[:2] == (0, 1)


def test_features_of_another_width_or_other_views_are_not_joined(tmp_path: Path) -> None:
    filled(tmp_path / "pulled", "ab01")
    for name, view, width in (("narrow", "0.0", 2), ("turned", "1.0", 4)):
        store, key = FeatureStore(tmp_path / name, PRINT), f"ab02/{view}"
        store.add({key: np.zeros(width, dtype=np.float32)})
        document = index("ab02")
        document["splits"]["train"]["views"] = [view]
        store.finish([key], document)
        with pytest.raises(DataError, match="embed_new"):
            load_split(tmp_path / "pulled", "train", more=tmp_path / name)


def test_first_views_only(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, PRINT)
    store.add(vectors("ab01/0.0", "ab01/1.0"))
    document = index("ab01")
    document["splits"]["train"]["views"] = ["0.0", "1.0"]
    store.finish(["ab01/0.0", "ab01/1.0"], document)
    assert load_split(tmp_path, "train").x.shape == (1, 2, 4)
    assert load_split(tmp_path, "train", views=1).views == ["0.0"]
