"""A training that is stopped: the same weights, the same rate, and checkpoints that are of use or left aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.config import load_params
from tests.support.paths import ROOT
from tests.support.training import stopped_after

PARAMS = load_params(ROOT / "params.yaml").training


class Target:
    """A number to be predicted."""

    def __init__(self, value: float) -> None:
        self.value = value

    def to(self, device: Any) -> Target:
        return self


class Samples:
    """One random pixel a sample; whether it is light is to be learnt."""

    def key(self, index: int) -> tuple[int, int]:
        return index, 0

    def __call__(self, index: int) -> Any:
        pixels = np.random.default_rng(index).integers(0, 255, (1, 1, 3), dtype=np.uint8)
        return type("Sample", (), {"pixels": pixels, "light": float(pixels.mean() > 127)})()


def trainee() -> Any:
    import torch
    from torch import nn

    class Light(nn.Module):  # type: ignore[misc]
        size, frozen = 1, None

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.layers = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Linear(8, 1))

        def prepare(self, pixels: Any) -> Any:
            return pixels.float().reshape(-1, 3) / 255

        def loss(self, prepared: Any, targets: list[Target]) -> Any:
            wanted = torch.tensor([target.value for target in targets])
            return ((self.layers(prepared).squeeze(1) - wanted) ** 2).mean()

    return Light()


def train(checkpoint: Path, **changes: Any) -> dict[str, Any]:
    from tasks.training import resumable

    plan = resumable.TrainingPlan(6, 4, 0.01, 7, "these inputs", PARAMS)
    samples: Any = Samples()
    return resumable.train(
        trainee(), samples, replace(plan, **changes), checkpoint, lambda sample: Target(sample.light)
    )


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(tensor.equal(other[name]) for name, tensor in one.items())


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_stopped_training_ends_as_an_undisturbed_one(tmp_path: Path, stop: int) -> None:
    from safetensors.torch import load_file

    undisturbed = train(tmp_path / "a" / "checkpoint.safetensors")
    with stopped_after(stop):
        train(tmp_path / "b" / "checkpoint.safetensors")
    assert same(train(tmp_path / "b" / "checkpoint.safetensors"), undisturbed)
    assert same(*(load_file(tmp_path / name / "checkpoint.safetensors") for name in "ab"))


@pytest.mark.parametrize(
    ("change", "fingerprint"),
    [
        # of other inputs: nothing of it may be used
        (lambda path: None, "other inputs"),
        # torn by something outside
        (damage, "these inputs"),
        (lambda path: path.write_bytes(b""), "these inputs"),
    ],
)
def test_a_checkpoint_of_no_use_is_left_aside(
    tmp_path: Path, change: Callable[[Path], object], fingerprint: str
) -> None:
    path = tmp_path / "run" / "checkpoint.safetensors"
    with stopped_after(3):
        train(path)
    change(path)
    assert same(train(path, fingerprint=fingerprint), train(tmp_path / "fresh" / "checkpoint.safetensors"))


@pytest.mark.parametrize(
    ("changes", "expected"), [({}, True), ({"ema_decay": 0.0}, False), ({"max_gradient": 1e-3}, False)]
)
def test_the_section_reaches_the_training(tmp_path: Path, changes: dict[str, float], expected: bool) -> None:
    plain = train(tmp_path / "a" / "checkpoint.safetensors")
    params = PARAMS.model_copy(update=changes)
    assert same(train(tmp_path / "b" / "checkpoint.safetensors", params=params), plain) is expected


@pytest.mark.parametrize(
    ("step", "share"),
    [
        # a twentieth of 100 steps of warm-up
        (0, 0.2),
        (4, 1.0),
        (5, 1.0),
        # half way down, and nearly at the end
        (52, 0.5132),
        (99, 0.0103),
    ],
)
def test_the_learning_rate_rises_and_falls(step: int, share: float) -> None:
    from tasks.training.schedule import share_of_peak

    assert share_of_peak(step, 100, PARAMS) == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize("done", [0, 1, 7, 49])
def test_the_schedule_goes_on_where_it_was(done: int) -> None:
    from torch import nn

    from tasks.training.schedule import decayed_adamw, share_of_peak, warm_up_and_cosine

    optimizer = decayed_adamw(nn.Linear(2, 2), 0.01, 0.1)
    warm_up_and_cosine(optimizer, 0.01, 50, PARAMS, done)
    assert {group["lr"] for group in optimizer.param_groups} == {0.01 * share_of_peak(done, 50, PARAMS)}
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
