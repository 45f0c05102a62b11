"""Trainings on a card: parts of a batch, how many pictures fit, and the gradient of the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tasks.config import load_params
from tasks.training.averaging import mean_of_updates
from tasks.training.card import TOO_MUCH, divided, fitting, tf32
from tasks.training.loop import Trainer
from tests.support.paths import ROOT

GIB = 1 << 30


class Weighed:
    """A trainee whose losses are a mean over numbers."""

    def weight(self, targets: list[list[int]]) -> float:
        return float(max(1, sum(map(len, targets))))


@pytest.mark.parametrize(
    ("batch", "most", "sizes", "shares"),
    [
        # it fits
        ([[1], [2]], 2, [2], [1.0]),
        # parts of nearly the same size, and shares by what is in them
        ([[1], [2, 3], [4]], 2, [1, 2], [1 / 4, 3 / 4]),
        ([[1]] * 16, 6, [5, 5, 6], [5 / 16, 5 / 16, 6 / 16]),
        # a part with nothing in it counts as one, as its own loss is divided by one
        ([[], [1, 2]], 1, [1, 1], [1 / 2, 1.0]),
        ([[], []], 1, [1, 1], [1.0, 1.0]),
    ],
)
def test_batches_are_divided(batch: list[list[int]], most: int, sizes: list[int], shares: list[float]) -> None:
    parts = divided(Weighed(), lambda sample: sample, most, batch)
    assert [len(part) for _, part in parts] == sizes
    assert [share for share, _ in parts] == pytest.approx(shares)
    assert [sample for _, part in parts for sample in part] == batch


def line(fixed: float, each: float) -> Callable[[int], int]:
    return lambda count: int((fixed + each * count) * GIB)


@pytest.mark.parametrize(
    ("peak", "most", "free", "expected"),
    [
        # measured on an H100 at 16 pictures: 27.0 GiB of YOLO11x and 19.2 GiB of RF-DETR-M in float32, 1.7 and 1.2 of
        # them weights, moments and CUDA's own; on a card of 24 GB, of which 85 % are filled
        (line(1.7, 25.3 / 16), 16, 22 * 0.85, 10),
        (line(1.2, 18.0 / 16), 16, 22 * 0.85, 15),
        # activations of half the size in bfloat16: both fit as they are
        (line(1.7, 12.7 / 16), 16, 22 * 0.85, 16),
        (line(1.2, 9.0 / 16), 16, 22 * 0.85, 16),
        # a card of 16 GB and one of 8
        (line(1.7, 12.7 / 16), 16, 14 * 0.85, 12),
        (line(1.7, 12.7 / 16), 16, 6 * 0.85, 4),
        # not one: it is tried all the same
        (line(1.7, 1.0), 16, 1.0, 1),
        # a pass that takes the same memory whatever it is given
        (line(1.0, 0.0), 16, 2.0, 16),
        # three did not fit, or not even one
        (lambda count: 3 * GIB if count == 1 else TOO_MUCH, 16, 6.0, 1),
        (lambda _: TOO_MUCH, 16, 6.0, 1),
        # a batch as small as the trial
        (line(9.0, 9.0), 3, 1.0, 3),
    ],
)
def test_as_many_go_at_once_as_fit(peak: Callable[[int], int], most: int, free: float, expected: int) -> None:
    assert fitting(peak, most, int(free * GIB)) == expected


class Net(nn.Module):
    """One layer, and a mean over the numbers of a batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)

    def loss(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([self.layer(one) for one in batch]).square().mean()

    def weight(self, batch: list[torch.Tensor]) -> float:
        return float(sum(len(one) for one in batch))


def trained(most: int | None) -> tuple[Net, list[float]]:
    net, losses = Net(), list[float]()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    trainer = Trainer(net, optimizer, schedule, mean_of_updates(net), lambda _: True, max_gradient=1.0)
    if most is not None:
        trainer.parts = lambda batch: divided(net, lambda sample: sample, most, batch)
    random = torch.Generator().manual_seed(1)
    batches = [(step, [torch.randn(1 + row, 3, generator=random) for row in range(5)]) for step in range(4)]
    trainer.run(batches, net.loss, lambda _, loss: losses.append(loss))
    return net, losses


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_parts_give_the_weights_of_the_whole(most: int) -> None:
    whole, losses = trained(None)
    parts, others = trained(most)
    assert others == pytest.approx(losses, rel=1e-5)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_detr_has_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    from tasks.detection.target import Target
    from tasks.detection.weights import build
    from tests.integration.tasks.test_detect import tiny
    from tests.support.tiny_dino import write_backbone

    given = tiny()
    params = tiny(detr=given.detr.model_copy(update={"dropout": 0.0}))
    detector = build("detr", params, write_backbone(tmp_path)).train()
    pixels = torch.randint(0, 255, (4, 56, 56, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.3, 0.2, 0.2], [0.7, 0.6, 0.3, 0.2]])
    # three boxes, none, one and two
    targets = [Target(torch.arange(count), boxes[:count]) for count in (3, 0, 1, 2)]
    batch = list(zip(pixels, targets, strict=True))

    def gradients(parts: Any) -> dict[str, torch.Tensor]:
        detector.zero_grad()
        for share, part in parts:
            prepared = detector.prepare(torch.stack([one for one, _ in part]))
            (share * detector.loss(prepared, [target for _, target in part])).backward()
        return {name: w.grad.clone() for name, w in detector.named_parameters() if w.grad is not None}

    whole = gradients([(1.0, batch)])
    parts = gradients(divided(detector, lambda sample: sample[1], 1, batch))
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-3, atol=1e-4, msg=name)


def test_tf32_ends_with_the_training() -> None:
    before = torch.get_float32_matmul_precision()
    with tf32(True):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
    with tf32(False):
        assert torch.get_float32_matmul_precision() == before


def test_sections_reach_the_parameters() -> None:
    card = load_params(ROOT / "params.yaml").detect.card
    assert (card.precision, card.micro_batch) == ("auto", "auto")
