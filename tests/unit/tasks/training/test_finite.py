"""A training in which a value is not finite: it ends, and one line says where, what and what to try."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tasks.config import load_params
from tasks.training.averaging import mean_of_updates
from tasks.training.finite import NonFiniteError
from tasks.training.loop import Trainer
from tests.support.paths import ROOT

NAN, INF = float("nan"), float("inf")


class Net(nn.Module):
    """Three layers, so that there is a first, a middle and a last one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.mix = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        self.norm, self.answer = nn.BatchNorm1d(4), nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        return self.answer(self.norm(self.mix(self.enter(x)))).squeeze(1)


class Root(torch.autograd.Function):
    """The identity, whose gradient is infinite."""

    @staticmethod
    def forward(_: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(_: Any, gradient: Any) -> Any:
        return gradient * INF


def run(
    break_at: Callable[[Net], Any] | None = None, loss: Callable[[Net, Any], Any] | None = None, when: int = 1
) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    trainer = Trainer(net, optimizer, schedule, mean_of_updates(net), lambda _: True, max_gradient=1.0)
    batches = [(step, torch.ones(4, 3) * torch.arange(4)[:, None]) for step in range(4)]

    def after(step: int, _: float) -> None:
        if step == when and break_at:
            with torch.no_grad():
                break_at(net)

    trainer.run(batches, lambda x: loss(net, x) if loss else net(x).square().mean(), after)


def set_to(weight: str, value: float) -> Callable[[Net], Any]:
    return lambda net: net.state_dict()[weight].fill_(value)


def overflow(net: Net) -> None:
    net.mix[0].weight.fill_(3e38)
    net.enter.weight.fill_(1e30)


@pytest.mark.parametrize(
    ("break_at", "expected"),
    [
        # a weight, in the first layer and in the middle of the net
        (set_to("enter.weight", NAN), "step 2: NaN in the weight of layer enter (weight); try a lower learning_rate"),
        (set_to("mix.0.bias", INF), "step 2: inf in the weight of layer mix.0 (bias)"),
        # both weights are finite, and their product is not
        (overflow, "inf in the output of layer mix.0; the value overflowed"),
    ],
)
def test_a_broken_layer_is_named(break_at: Callable[[Net], Any], expected: str) -> None:
    with pytest.raises(NonFiniteError, match=re.escape(expected)) as error:
        run(break_at)
    assert "\n" not in str(error.value)


def shown(net: Net, x: Any) -> Any:
    return net(torch.where(x > 2, NAN, x)).square().mean()


def functional(net: Net, x: Any) -> Any:
    return net.answer(net.norm(net.mix(net.enter(x)) / 0)).mean()


def steep(net: Net, x: Any) -> Any:
    return net.answer(net.norm(Root.apply(net.mix(net.enter(x))))).square().mean()


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        # the data themselves
        (shown, "step 0: NaN in the input of layer enter; what goes in is not finite"),
        # between two layers: the one before and the one after are named
        (functional, "NaN in the input of layer norm (after mix.1)"),
        # every layer is finite
        (lambda net, x: (net(x).square().mean() - 1e9).sqrt(), "step 0: NaN in the loss; every layer is finite"),
        # a finite loss, and a backward pass that is not
        (
            lambda net, x: net.answer(net.norm(Root.apply(net.mix(net.enter(x))))).square().mean(),
            "the gradient of layer mix.0",
        ),
    ],
)
def test_a_broken_value_is_named(loss: Callable[[Net, Any], Any], expected: str) -> None:
    with pytest.raises(NonFiniteError, match=re.escape(expected)):
        run(loss=loss)


@pytest.mark.parametrize("weight", ["answer.weight", "norm.running_var"])  # a running statistic is in no loss
def test_what_the_last_step_broke_is_found(weight: str) -> None:
    layer, _, name = weight.partition(".")
    with pytest.raises(NonFiniteError, match=rf"step 3: NaN in the weight of layer {layer} \({name}\)"):
        run(set_to(weight, NAN), when=3)


def test_a_sound_training_is_the_same_as_with_the_one_function_of_torch() -> None:
    """The norm is taken before gradients are cut, in two calls in place of one."""
    gradient = torch.randn(50, generator=torch.Generator().manual_seed(1)) * 7
    one, other = nn.Parameter(torch.zeros(50)), nn.Parameter(torch.zeros(50))
    one.grad, other.grad = gradient.clone(), gradient.clone()
    nn.utils.clip_grad_norm_([one], 0.1)
    nn.utils.clip_grads_with_norm_([other], 0.1, nn.utils.get_total_norm([other.grad]))
    assert one.grad.equal(other.grad)


def test_a_checkpoint_before_stays(tmp_path: Path) -> None:
    """What a broken training leaves is what it had before, so that it can go on at another rate."""
    from tasks.training import resumable
    from tests.unit.tasks.training.test_resumable import Samples, Target, trainee

    broken = trainee()
    plan = resumable.TrainingPlan(6, 4, 0.01, 7, "these inputs", load_params(ROOT / "params.yaml").training)
    real = resumable.save_checkpoint

    def save(path: Path, trainer: Trainer, step: int, fingerprint: str) -> None:
        real(path, trainer, step, fingerprint)
        if step == 2:
            with torch.no_grad():
                broken.layers[2].weight.fill_(NAN)

    samples: Any = Samples()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resumable, "SAVE_EVERY", 1)
        patch.setattr(resumable, "save_checkpoint", save)
        with pytest.raises(NonFiniteError, match=r"step 2: NaN in the weight of layer layers\.2"):
            resumable.train(broken, samples, plan, tmp_path / "one", lambda sample: Target(sample.light))
    from safetensors.torch import load_file

    assert all(torch.isfinite(tensor).all() for tensor in load_file(tmp_path / "one").values())
