"""Evaluation and rendering on a real cluster: equal to the local ones, also where an actor is killed in the middle."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.evaluate.folder import EvaluationReport
from tasks.config.scale import ScaleParams, SelectionParams
from tasks.data.schema import DataError
from tasks.mining.coresets import Shards, in_turn
from tasks.mining.greedy import Pool, SelectionLimits
from tasks.mining.select import select
from tasks.mining.stored import RowWriter
from tasks.scale import evaluate, synthesize
from tasks.scale.evaluate import evaluate_folder
from tasks.scale.mine import spread_on
from tasks.scale.synthesize import rendering_on
from tasks.synthesis import render
from tasks.synthesis.blender_python import PYTHON
from tests.support import bad_images, tiny
from tests.support.ray_cluster import actors, needs_ray, two_nodes
from tests.support.synthesis import content, params, stand_in, write_renderer

pytestmark = [pytest.mark.integration, pytest.mark.cluster, needs_ray]
RAY, LOCAL = ScaleParams(engine="ray"), ScaleParams()
RUNTIME = tiny.runtime_params()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as running:
        yield running


def kill_after(cluster: Any, number: int, results: Iterator[Any]) -> Iterator[Any]:
    """Hand results on, and kill an actor after the first so many."""
    for count, result in enumerate(results, 1):
        yield result
        if count == number:
            actors(cluster)[0].kill()


def without_times(report: EvaluationReport) -> dict[str, object]:
    found = report.model_dump()
    found["metrics"].pop("milliseconds")
    return found


@pytest.mark.parametrize("killed", [False, True])
def test_an_evaluation_is_the_local_one(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    release = tiny.write_release(tmp_path / "release")
    for name, top in (("roadwork", tiny.ORANGE), ("clear", tiny.BLUE)):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in range(60):
            shown = tiny.ORANGE if number % 20 == 0 else top
            picture = tiny.encoded(tiny.street(shown, (number, 90, 90)))
            (tmp_path / "in" / name / f"{number:02}.jpg").write_bytes(picture)
    (tmp_path / "in" / "clear" / "truncated.jpg").write_bytes(bad_images.BAD["truncated.jpg"][0])
    expected = evaluate_folder(tmp_path / "in", RUNTIME, LOCAL, release.folder, prior=0.5)
    if killed:
        whole = evaluate.run_items
        monkeypatch.setattr(evaluate, "run_items", lambda *given: kill_after(cluster, 2, whole(*given)))
    found = evaluate_folder(tmp_path / "in", RUNTIME, RAY, release.folder, prior=0.5)
    assert without_times(found) == without_times(expected)
    assert (found.metrics["n"], len(found.skipped)) == (120, 1)


def pictures(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in content(root).items() if name.endswith((".jpg", ".json"))}


@pytest.mark.parametrize("killed", [False, True])
def test_rendered_pictures_are_the_local_ones(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    monkeypatch.setenv(PYTHON, sys.executable)
    script = stand_in(write_renderer(tmp_path, pause=0.05))
    wanted = params(num_positive=10, num_negative=10)
    here = render.make(wanted, tmp_path / "here", script)
    if killed:
        whole = synthesize.run_items
        monkeypatch.setattr(synthesize, "run_items", lambda *given: kill_after(cluster, 2, whole(*given)))
    there = render.make(wanted, tmp_path / "there", script, rendering_on(RAY))
    assert there == here
    assert pictures(tmp_path / "there") == pictures(tmp_path / "here")
    assert len(pictures(tmp_path / "there")) == 2 * 4 * 5


def test_a_choice_by_shards_is_the_local_one(cluster: Any, tmp_path: Path) -> None:
    """Actors read the embeddings from the file."""
    random = np.random.default_rng(1)
    rows = RowWriter(tmp_path, 64)
    rows.write(random.standard_normal((2000, 64), dtype=np.float32))
    places = [f"place-{number}" for number in random.integers(100, size=2000)]
    pool = Pool(rows.rows(), random.random(2000), places, [f"{number:04}" for number in range(2000)])
    limits = SelectionLimits(20, shortlist=50, place_quota=2, duplicate_distance=0.3)
    scale = RAY.model_copy(update={"selection": SelectionParams(vectors="disk")})
    here = select(pool, limits, shards=Shards(300))
    assert select(pool, limits, shards=Shards(300, spread=spread_on(scale))) == here
    assert len(here.rows) == 20
    # in memory they would have to be sent along
    assert spread_on(RAY) is spread_on(LOCAL) is in_turn


def test_a_renderer_that_fails_on_a_node_is_said(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, sys.executable)
    script = stand_in(write_renderer(tmp_path, ending="raise ImportError('libXrender.so.1: cannot open')"))
    with pytest.raises(DataError, match=r"(?s)libXrender.so.1.*bpy"):
        render.make(params(), tmp_path / "work", script, rendering_on(RAY))
