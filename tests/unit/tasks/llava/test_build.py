"""Step `vlm` without a real model: what it writes, counts and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from cascade.vlm.base import VlmAnswer
from cascade.vlm.settings import VlmSettings, read_settings
from tasks.classifier.calibration import Calibration
from tasks.classifier.weights import WeightsError
from tasks.common.files import sha256, write_json
from tasks.common.hub import HubError
from tasks.config import VlmParams, load_params
from tasks.config.vlm import VlmModelParams
from tasks.llava import assemble
from tasks.llava.build import VlmPaths, build_vlm
from tasks.llava.hub import fetch
from tasks.llava.predict import VlmResponses, scores, spread
from tasks.llava.settings import settings_of
from tests.support.paths import ROOT

PARAMS = load_params(ROOT / "params.yaml").vlm


def changed(**changes: object) -> VlmParams:
    return VlmParams.model_validate({**PARAMS.model_dump(), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        # a model that can change under us, one without a place, exits that cross, words that are none
        {"model": {"source": "hub", "repo": "zai-org/GLM-4.6V-Flash"}},
        {"model": {"source": "hub", "repo": "zai-org/GLM-4.6V-Flash", "revision": "main"}},
        {"model": {"source": "folder"}},
        {"exit_high": 0.4},
        {"yes_words": []},
        {"temperature": 1.0},
    ],
)
def test_params_that_do_not_fit(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        changed(**changes)


def test_off_writes_settings_alone(tmp_path: Path) -> None:
    build_vlm(changed(backend="off"), VlmPaths(folder=tmp_path / "vlm", report=tmp_path / "metrics.json"), prior=None)
    assert [path.name for path in (tmp_path / "vlm").iterdir()] == ["vlm.json"]
    assert read_settings(tmp_path / "vlm").backend == "off"
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"off": 1}


@pytest.mark.parametrize("backend", ["transformers", "server", "off"])
def test_settings_say_everything(tmp_path: Path, backend: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    hub = {"source": "hub", "repo": "o/m", "revision": "a" * 40}
    made = settings_of(changed(backend=backend, clip_model=hub), tmp_path, Calibration(0.5, -1.0))
    assert VlmSettings.model_validate(json.loads(json.dumps(made.model_dump(mode="json")))) == made
    assert (made.scaling.a, made.scaling.b, made.exits.high, made.exits.low) == (0.5, -1.0, 0.75, 0.25)
    assert made.files == {"model.safetensors": sha256(b"weights")}
    assert (made.server is None) == (backend != "server")
    assert made.clip_model is not None
    assert (made.clip_model.repo, made.clip_model.revision) == ("o/m", "a" * 40)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        # no projector, another projector, another tower, another question
        ({"projector": None}, "no such file"),
        ({"projector": b"other"}, "restore both from git"),
        ({"tower": b"other"}, "not the tower"),
    ],
)
def test_shipped_projector_that_does_not_fit(tmp_path: Path, spoil: dict[str, bytes | None], message: str) -> None:
    given = {"projector": b"projector", "tower": b"tower"} | spoil
    tower, shipped = tmp_path / "tower", tmp_path / "shipped"
    for path, content in (
        (tower / "model.safetensors", given["tower"]),
        (shipped / assemble.PROJECTOR, given["projector"]),
    ):
        path.parent.mkdir()
        if content is not None:
            path.write_bytes(content)
    files = {assemble.PROJECTOR: sha256(b"projector")}
    write_json(shipped / assemble.MANIFEST, {"files": files, "tower_sha256": sha256(b"tower")})
    (tmp_path / "vlm").mkdir()
    (tmp_path / "vlm" / "vlm.json").write_text("the last good one")
    with pytest.raises(WeightsError, match=message):
        build_vlm(PARAMS, VlmPaths(tmp_path, tower, shipped, tmp_path / "vlm", tmp_path / "m.json"), prior=None)
    assert (tmp_path / "vlm" / "vlm.json").read_text() == "the last good one"


def test_a_hub_that_does_not_answer_is_named() -> None:
    with pytest.raises(HubError, match=r"streetvision/none@aaaaaaaaaaaa: (the Hub does not answer|no request is made)"):
        fetch(VlmModelParams(source="hub", repo="streetvision/none", revision="a" * 40))


def test_abstentions_count_for_neither_side() -> None:
    answers = [VlmAnswer("answered", 2.0, 0.9), VlmAnswer("answered", -2.0, 0.8), VlmAnswer("malformed", why="prose")]
    found = scores(VlmResponses(np.array([1, 0, 1]), ["a", "b", "c"], answers), Calibration(1.0, 0.0), prior=None)
    assert found["kinds"] == {"answered": 2, "malformed": 1}
    assert found["accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["brier"] == pytest.approx((2 * 0.1192**2 + 0.25) / 3, abs=1e-3)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (3, [0, 3, 6]), (10, list(range(10))), (99, list(range(10)))]
)
def test_spread(count: int, expected: list[int]) -> None:
    assert spread(list(range(10)), count) == expected


@pytest.mark.skipif(not (ROOT / assemble.SHIPPED).is_dir(), reason="no projector is shipped yet: docs/vlm.md")
def test_shipped_projector_is_small_and_the_one_of_its_manifest() -> None:
    shipped = ROOT / assemble.SHIPPED
    manifest = assemble.read_shipped(shipped)
    assert (shipped / assemble.PROJECTOR).stat().st_size < 10_000_000
    assert manifest["prompt"] == PARAMS.prompt
    assert manifest["challenge"]["n"] >= 213
    assert manifest["challenge"]["mcc"] > 0.3


def test_scores_are_for_the_prior() -> None:
    # one of two clear pictures is taken for roadwork, of eight with roadworks none is missed
    answers = [VlmAnswer("answered", logit, 0.9) for logit in (2.0, -2.0, *[2.0] * 8)]
    responses = VlmResponses(np.array([0, 0, *[1] * 8]), ["a"] * 10, answers)
    even, own = (scores(responses, Calibration(1.0, 0.0), prior=prior) for prior in (0.5, None))
    assert (even["accuracy"], own["accuracy"]) == (0.75, 0.9)
    assert even["mass"] == own["mass"]
