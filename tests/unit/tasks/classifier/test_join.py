"""Heads side by side: one head that answers with the mean of their logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tasks.classifier.head import ConvHead, HeadShape, load_head, save_head
from tasks.classifier.join import join_heads

SHAPE = HeadShape("conv", 17 * 6, 6, 4, 3, 0.5)


def head(seed: int, shape: HeadShape = SHAPE) -> ConvHead:
    torch.manual_seed(seed)
    made = ConvHead(shape)
    made.mean.fill_(0.2)
    made.std.fill_(1.5)
    return made.eval()


@pytest.mark.parametrize(
    ("heads", "shares"),
    [
        ([head(1)], [1.0]),  # alone it stays as it is
        ([head(1), head(2)], [0.5, 0.5]),
        ([head(1), head(2), head(3)], [0.2, 0.4, 0.4]),
        ([head(1), head(2)], [0.0, 1.0]),  # one that does not count
        ([head(1), head(2, replace(SHAPE, members=2))], [0.25, 0.75]),  # members of an earlier join
    ],
)
def test_the_logit_is_the_weighted_mean(heads: list[ConvHead], shares: list[float]) -> None:
    x = torch.randn(5, 17 * 6)
    with torch.no_grad():
        expected = sum(one(x) * share for one, share in zip(heads, shares, strict=True))
        torch.testing.assert_close(join_heads(heads, shares)(x), expected, atol=1e-5, rtol=1e-5)


def test_the_patches_are_the_mean_of_all_members() -> None:
    x, heads = torch.randn(5, 17 * 6), [head(1), head(2)]
    with torch.no_grad():
        found = join_heads(heads, [0.9, 0.1]).with_patches(x)[1]
        assert found is not None
        torch.testing.assert_close(found, (heads[0].with_patches(x)[1] + heads[1].with_patches(x)[1]) / 2)


def test_the_file_says_how_many_members_there_are(tmp_path: Path) -> None:
    x, joined = torch.randn(5, 17 * 6), join_heads([head(1), head(2)], [0.5, 0.5])
    save_head(joined, tmp_path)
    back = load_head(tmp_path, SHAPE)
    assert back.shape == replace(SHAPE, members=2) == HeadShape.of_document(back.shape.as_document())
    with torch.no_grad():
        assert torch.equal(back(x), joined(x))


@pytest.mark.parametrize(
    ("heads", "shares", "message"),
    [
        ([head(1), head(2)], [0.5, 0.6], "add up to 1"),
        ([head(1), head(2)], [1.0], "2 heads need so many shares"),
        ([head(1), head(2, replace(SHAPE, hidden=8))], [0.5, 0.5], "different shapes"),
        ([head(1), head(2, replace(SHAPE, token_scale=0.1))], [0.5, 0.5], "different shapes"),
    ],
)
def test_heads_that_do_not_fit_are_refused(heads: list[ConvHead], shares: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        join_heads(heads, shares)


def test_heads_of_other_scales_are_refused() -> None:
    other = head(2)
    other.std.fill_(2.0)
    with pytest.raises(ValueError, match="scale their features differently"):
        join_heads([head(1), other], [0.5, 0.5])
