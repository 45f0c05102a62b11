"""The engine `ray` on a real cluster: what is lost is done again, and the results are the local ones to the bit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from cascade.release.store import Release
from tasks.classifier.embedding import embed
from tasks.config.scale import ScaleParams
from tasks.data.schema import read_records, split_file
from tasks.mining.media import keep_media
from tasks.probe import probe
from tasks.scale.embed import features_on
from tasks.scale.engine import run_items
from tasks.scale.errors import ScaleError
from tasks.scale.mine import scorer_on
from tasks.scale.output import OutputFolder
from tasks.scale.predict import predict_batch
from tasks.scale.predictor import Shard
from tests.integration.tasks.conftest import Workplace
from tests.support import bad_images, tiny
from tests.support.clips import clip
from tests.support.ray_cluster import actors, needs_ray, two_nodes

pytestmark = [pytest.mark.integration, pytest.mark.cluster, needs_ray]
RAY = ScaleParams(engine="ray", shard_pictures=8)
LOCAL = RAY.model_copy(update={"engine": "local"})
PARAMS = tiny.runtime_params()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as running:
        yield running


class Counter:
    """A worker that fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self._fails = fails

    def __enter__(self) -> Self:
        if self._fails == "open":
            raise ValueError("no model there")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, item: int) -> Iterator[tuple[int, bytes]]:
        if self._fails == "work" and item == 3:
            raise ValueError("item 3 is bad")
        for part in range(3):
            # a later item may be done first
            time.sleep(0.02 * (item % 3))
            yield item, bytes(part)


@pytest.mark.parametrize(
    ("changes", "fails", "error", "message"),
    [
        # more than any node has
        ({"cpus": 2}, "", ScaleError, r"no node .* has room for one actor \(scale.cpus 2, .*1 CPU, 0 GPU; 1 CPU"),
        ({"gpus": 0.5}, "", ScaleError, "room for one actor"),
        # a model that cannot be opened, and a defect in the work
        ({}, "open", ValueError, "no model there"),
        ({}, "work", ValueError, "item 3 is bad"),
    ],
)
def test_what_cannot_work_ends_with_its_reason(
    cluster: Any, changes: dict[str, Any], fails: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        list(run_items(RAY.model_copy(update=changes), partial(Counter, fails), range(6)))


def test_results_come_in_the_order_of_the_items(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # in two waves
    monkeypatch.setattr("tasks.scale.on_ray.WAVE", 7)
    assert list(run_items(RAY, Counter, range(12))) == list(run_items(LOCAL, Counter, range(12)))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_features_are_the_local_ones_to_the_bit(cluster: Any, workplace: Workplace, tmp_path: Path) -> None:
    params, folders = workplace.params.embed.model_copy(update={"views": 2}), []
    for scale in (LOCAL, RAY):
        root = tmp_path / scale.engine
        folders.append(root / "features")
        embed(params, workplace.pulled, workplace.backbone, folders[-1], root / "report.json", features_on(scale))
    here, there = map(files_of, folders)
    assert here.keys() == there.keys()
    assert here == there


@pytest.mark.parametrize("stored", [True, False])
def test_scores_of_a_pool_are_the_local_ones(cluster: Any, workplace: Workplace, probed: Path, stored: bool) -> None:
    rows = list(read_records(split_file(workplace.pulled, "pool")))
    pictures = [(row["sha256"], row["image"]["bytes"]) for row in rows]
    for key, data in pictures:
        keep_media(key, data, probed / "media")
    given = (workplace.backbone, probed / "probe", probed / "features" if stored else None, 3)
    here = scorer_on(LOCAL)(*given).score(pictures)
    there = scorer_on(RAY, probed / "media")(*given).score(pictures)
    assert here.keys == there.keys
    assert (here.probability == there.probability).all()
    assert np.abs(here.vectors[:] - there.vectors[:]).max() == 0


@pytest.fixture(scope="module")
def probed(workplace: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features and a probe of them."""
    root = tmp_path_factory.mktemp("probed")
    few = workplace.params.embed.model_copy(update={"views": 2})
    short = workplace.params.train.model_copy(update={"probe_epochs": 6, "probe_views": 2})
    embed(few, workplace.pulled, workplace.backbone, root / "features", root / "embed.json")
    probe(short, root / "features", root / "probe", root / "reports", prior=None)
    return root


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for number in range(120):
        top = (tiny.ORANGE, tiny.BLUE, (120, 90, 100))[number % 3]
        (folder / f"{number:03}.jpg").write_bytes(tiny.encoded(tiny.street(top, (number, 90, 90))))
    for name in ("empty.jpg", "truncated.jpg"):
        (folder / name).write_bytes(bad_images.BAD[name][0])
    (folder / "clip.mp4").write_bytes(clip([tiny.ORANGE] * 8))
    (folder / "damaged.parquet").write_bytes(b"no parquet")
    return folder


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny.write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def local(source: Path, release: Release, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("local") / "out"
    return out, predict_batch(source, out, PARAMS, LOCAL, release.folder)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}


def kill_an_actor(cluster: Any) -> None:
    actors(cluster)[0].kill()


def lose_a_node(cluster: Any) -> None:
    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)


@pytest.mark.parametrize("harm", [None, kill_an_actor, lose_a_node])
def test_predictions_are_the_local_ones_to_the_bit(
    cluster: Any,
    source: Path,
    release: Release,
    local: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Any,
) -> None:
    whole, calls = OutputFolder.add, []

    def add(folder: OutputFolder, shard: Shard) -> None:
        whole(folder, shard)
        calls.append(shard.key)
        if harm and len(calls) == 2:
            harm(cluster)

    monkeypatch.setattr(OutputFolder, "add", add)
    report = predict_batch(source, tmp_path / "out", PARAMS, RAY, release.folder)
    out, expected = local
    assert report == expected
    assert report["pictures"] == 123
    assert [problem.partition(":")[0] for problem in report["problems"]] == [str(source / "damaged.parquet")]
    assert content(tmp_path / "out") == content(out)
    assert len(calls) == report["shards"] > 5
