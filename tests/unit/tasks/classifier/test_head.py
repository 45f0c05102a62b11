"""Focal loss against the paper's formula, and training that gives the same bytes twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.config import TrainParams, load_params
from tasks.data.feature_store import SplitFeatures
from tasks.training.balance import Balance
from tests.support.paths import ROOT


def params(**changes: object) -> TrainParams:
    return load_params(ROOT / "params.yaml").train.model_copy(
        update={"head": "linear", "start": "random", "learning_rate": 0.004, "average": 3, "threads": 1, **changes}
    )


def features(n: int = 120, seed: int = 0) -> SplitFeatures:
    random = np.random.default_rng(seed)
    label = np.arange(n) % 2
    x = random.normal(size=(n, 2, 12)).astype(np.float32)
    x[:, :, 0] += 3 * label[:, None]
    return SplitFeatures(x, label, [f"p{i}" for i in range(n)], [f"{i}" for i in range(n)], ["0.0", "1.0"])


@pytest.mark.parametrize(("gamma", "alpha"), [(0.0, 0.5), (2.0, 0.5), (2.0, 0.25), (0.5, 0.9)])
def test_focal_loss_is_the_papers(gamma: float, alpha: float) -> None:
    import torch

    from tasks.classifier.losses import focal_loss

    logit, label = np.array([-3.0, -0.2, 0.4, 5.0]), np.array([0.0, 1.0, 0.0, 1.0])
    p = 1 / (1 + np.exp(-logit))
    truth = np.where(label == 1, p, 1 - p)
    weight = np.where(label == 1, alpha, 1 - alpha)
    # ours is twice the paper's, so that gamma 0 and alpha 0.5 is cross-entropy
    expected = 2 * (-weight * (1 - truth) ** gamma * np.log(truth)).mean()
    found = focal_loss(torch.tensor(logit), torch.tensor(label), gamma=gamma, alpha=alpha, smoothing=0.0)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("label", "cover", "counts"),
    [
        (1, [0.0, 0.0], False),  # a roadwork picture whose crop left none of the works
        (1, [0.1, 0.0], False),  # or the edge of a box
        (1, [0.5, 0.0], True),
        (0, [0.0, 0.0], True),  # a clear one never has any
        (1, [np.nan, np.nan], True),  # nobody drew boxes, so nobody can say
    ],
)
def test_a_label_counts_where_its_works_can_be_seen(label: int, cover: list[float], counts: bool) -> None:
    import torch

    from tasks.classifier.head import ConvHead, HeadShape
    from tasks.classifier.losses import head_loss

    class Stub(ConvHead):
        def with_patches(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return features[:, 0], torch.zeros(len(features), 2)

    def loss(logit: float) -> float:
        # beside a picture that always counts
        tensors = torch.tensor([[logit], [-1.0]]), torch.tensor([float(label), 0.0])
        covers = torch.tensor([cover, [0.0, 0.0]])
        return float(head_loss(Stub(HeadShape("conv", 5 * 4, 4, 2)), *tensors, covers, params(box_weight=0.0)))

    assert (loss(2.0) != pytest.approx(loss(-2.0))) is counts


def test_a_batch_in_which_no_label_counts_has_no_loss() -> None:
    import torch

    from tasks.classifier.losses import focal_loss

    tensors = torch.tensor([3.0]), torch.tensor([1.0])
    assert float(focal_loss(*tensors, gamma=2.0, alpha=0.5, smoothing=0.1, counts=torch.zeros(1))) == 0.0


def test_smoothing_punishes_certainty() -> None:
    import torch

    from tasks.classifier.losses import focal_loss

    def loss(logit: float) -> float:
        tensors = torch.tensor([logit]), torch.tensor([1.0])
        return float(focal_loss(*tensors, gamma=2.0, alpha=0.5, smoothing=0.1))

    assert loss(3.0) < loss(0.0)
    assert loss(3.0) < loss(12.0)


def train(tmp: Path, chosen: TrainParams) -> bytes:
    from tasks.classifier.fit import fit_head
    from tasks.classifier.head import save_head

    head = fit_head(features(), chosen, lambda _: None, balance=Balance())
    save_head(head, tmp)
    return (tmp / "head.safetensors").read_bytes()


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_same_features_same_bytes(tmp_path: Path, kind: str) -> None:
    chosen = params(head=kind, epochs=3)
    first = train(tmp_path / "a", chosen)
    assert train(tmp_path / "b", chosen) == first
    assert train(tmp_path / "c", chosen.model_copy(update={"seed": 8})) != first


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_head_learns_and_comes_back_from_its_file(tmp_path: Path, kind: str) -> None:
    from tasks.classifier.fit import fit_head
    from tasks.classifier.head import HeadShape, load_head, save_head

    learn, unseen = features(), features(seed=1)
    head = fit_head(learn, params(head=kind, learning_rate=0.01, epochs=60), lambda _: None, balance=Balance())
    logit = head.logits(unseen.x)
    assert logit.shape == (120, 2)
    assert float(np.mean((logit > 0) == (unseen.label[:, None] == 1))) > 0.85
    save_head(head, tmp_path)
    assert np.array_equal(load_head(tmp_path, HeadShape(kind, 12, 1, params().hidden)).logits(unseen.x), logit)


def test_weights_are_the_mean_of_the_last_epochs() -> None:
    from tasks.classifier.fit import fit_head

    ends: list[float] = []
    last = [
        fit_head(features(), params(epochs=4, average=1), ends.append, balance=Balance()).state_dict()[
            "layers.0.weight"
        ]
    ]
    assert len(ends) == 4
    assert ends[-1] < ends[0]
    # the schedule of four epochs, looked at an epoch earlier: what is averaged is what training passed through
    both = fit_head(features(), params(epochs=4, average=2), lambda _: None, balance=Balance()).state_dict()[
        "layers.0.weight"
    ]
    before_last = 2 * both - last[0]
    assert not np.allclose(both.numpy(), last[0].numpy())
    assert np.abs(before_last.numpy() - last[0].numpy()).max() < 0.1


def tokens(n: int, seed: int, boxed: bool = True) -> SplitFeatures:
    """Roadwork pictures are those in which one of 4 x 4 patches differs; `cover` says which."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 1, 17, 6)).astype(np.float16)
    label = np.arange(n) % 2
    cover = np.zeros((n, 1, 16), dtype=np.float32)
    for row in np.flatnonzero(label):
        patch = rng.integers(16)
        x[row, 0, 1 + patch] += np.array([3, -3, 3, -3, 3, -3], dtype=np.float16)
        cover[row, 0, patch] = 1 if boxed else np.nan
    names = [f"{i}" for i in range(n)]
    return SplitFeatures(x.reshape(n, 1, -1), label, names, names, ["0.0"], cover)


@pytest.mark.slow
@pytest.mark.parametrize("boxed", [True, False])  # unknown boxes: the labels alone must do
def test_conv_head_finds_one_patch_among_many(tmp_path: Path, boxed: bool) -> None:
    from tasks.classifier.fit import fit_head
    from tasks.classifier.head import HeadShape, load_head, save_head

    chosen = params(head="conv", hidden=16, epochs=30, learning_rate=0.01)
    head = fit_head(tokens(400, 0, boxed), chosen, lambda _: None, channels=6, balance=Balance())
    unseen = tokens(200, 1)
    logit = head.logits(unseen.x)[:, 0]
    assert float(np.mean((logit > 0) == (unseen.label == 1))) > 0.9
    save_head(head, tmp_path)
    assert np.array_equal(load_head(tmp_path, HeadShape("conv", 17 * 6, 6, 16)).logits(unseen.x)[:, 0], logit)


def test_boxes_teach_the_conv_head_where_to_look() -> None:
    import torch

    from tasks.classifier.fit import fit_head

    chosen = params(head="conv", hidden=16, epochs=30, learning_rate=0.01)
    head = fit_head(tokens(400, 0), chosen, lambda _: None, channels=6, balance=Balance())
    unseen = tokens(100, 2)
    with torch.inference_mode():
        patches = head.with_patches(torch.from_numpy(unseen.x[:, 0]))[1]
    assert patches is not None
    assert unseen.cover is not None
    works = unseen.label == 1
    assert float(np.mean(patches.numpy().argmax(1)[works] == unseen.cover[works, 0].argmax(1))) > 0.9


@pytest.mark.parametrize(
    ("patch", "cover", "counts"),
    [
        ([5.0], [1.0], True),  # under a box
        ([5.0], [0.0], True),  # clear
        ([5.0], [0.1], False),  # the edge of a box says neither
        ([5.0], [float("nan")], False),  # a roadwork picture without boxes
    ],
)
def test_box_loss_counts_only_what_is_known(patch: list[float], cover: list[float], counts: bool) -> None:
    import torch

    from tasks.classifier.losses import box_loss

    assert (float(box_loss(torch.tensor([patch]), torch.tensor([cover]), params())) > 0) == counts


def test_what_counts_as_works_is_a_parameter() -> None:
    import torch

    from tasks.classifier.losses import box_loss

    edge = torch.tensor([[5.0]]), torch.tensor([[0.1]])
    assert float(box_loss(*edge, params(box_free=0.15))) > float(box_loss(*edge, params(box_covered=0.05))) > 0
    assert float(box_loss(*edge, params(box_covered=0.05, box_positive_weight=9.0))) == pytest.approx(
        3 * float(box_loss(*edge, params(box_covered=0.05)))
    )


def test_training_scales_the_weights_as_it_would_the_tokens() -> None:
    import torch

    from tasks.classifier.head import PART, ConvHead, HeadShape

    torch.manual_seed(3)
    head = ConvHead(HeadShape("conv", 17 * 6, 6, 4))
    head.mean.copy_(torch.randn(6))
    head.std.copy_(torch.rand(6) + 0.5)
    # more pictures than are taken at a time
    patches = torch.randn(2 * PART + 3, 16, 6)
    trained = head.train()._entered(patches)
    assert torch.allclose(trained, head.eval()._entered(patches), atol=1e-5)
    head.channel_dropout = 0.5
    assert not torch.allclose(head.train()._entered(patches), trained, atol=1e-2)


def test_dropouts_and_what_is_pooled_are_parameters() -> None:
    import torch

    from tasks.classifier.head import ConvHead, HeadShape, make_head

    chosen = params()
    conv = chosen.conv.model_copy(update={"dropout": 0.5, "channel_dropout": 0.2, "top_patches": 3, "token_scale": 0.7})
    chosen = chosen.model_copy(update={"head": "conv", "conv": conv})
    shape = HeadShape.of_params(chosen, 17 * 6, 6)
    head = make_head(shape, chosen)
    assert isinstance(head, ConvHead)
    assert (head.drop.p, head.channel_dropout, head.top_patches, head.token_scale) == (0.5, 0.2, 3, 0.7)
    assert HeadShape.of_document({**shape.as_document(), "pooling": "none"}) == shape
    # a head.json of before: what was a constant then
    old = {"kind": "conv", "width": 17 * 6, "channels": 6, "hidden": 64}
    assert (HeadShape.of_document(old).top_patches, HeadShape.of_document(old).token_scale) == (8, 0.3)
    x = torch.randn(2, 17 * 6)
    plain, scaled = ConvHead(HeadShape("conv", 17 * 6, 6, 4)), ConvHead(HeadShape("conv", 17 * 6, 6, 4, 8, 0.6))
    scaled.load_state_dict(plain.state_dict())
    assert not torch.allclose(plain.eval()(x), scaled.eval()(x))
