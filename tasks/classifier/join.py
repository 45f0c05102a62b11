"""Heads side by side as one head whose logit is the mean of theirs: import this only where torch is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from tasks.classifier.head import ConvHead

# weights whose first axis goes over the members
BY_MEMBER = ("enter.weight", "enter.bias", "mix.weight", "mix.bias", "score.weight", "score.bias")


def join_heads(heads: Sequence[ConvHead], shares: Sequence[float]) -> ConvHead:
    """Make one head whose logit is the weighted mean of the logits of several (deep ensemble).

    Heads that were trained with different seeds err on different pictures, so their mean errs less than each of them
    (Lakshminarayanan et al. 2017, arXiv:1612.01474). The backbone, nearly all of the work, still runs once.

    Args:
        heads: conv heads on the same features with the same mean and spread; each may have several members.
        shares: of each head in the logit; they add up to 1.

    Returns:
        A head of all their members, in evaluation mode.

    Raises:
        ValueError: the heads differ in shape or scale, or the shares do not fit.
    """
    if len(shares) != len(heads) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"{len(heads)} heads need so many shares that add up to 1; got {list(shares)}")
    first = heads[0]
    shape = replace(first.shape, members=sum(head.shape.members for head in heads))
    if any(replace(head.shape, members=shape.members) != shape for head in heads):
        raise ValueError("heads of different shapes cannot be joined")
    if any(not (torch.equal(head.mean, first.mean) and torch.equal(head.std, first.std)) for head in heads):
        raise ValueError("heads that scale their features differently cannot be joined")
    weights = {name: torch.cat([head.state_dict()[name] for head in heads]) for name in BY_MEMBER}
    weights["answer.weight"] = _answer_weight(heads, shares)
    weights["answer.bias"] = sum(head.answer.bias * share for head, share in zip(heads, shares, strict=True))
    joined = ConvHead(shape)
    joined.load_state_dict({"mean": first.mean, "std": first.std, **weights})
    joined.eval()
    return joined


def _answer_weight(heads: Sequence[ConvHead], shares: Sequence[float]) -> torch.Tensor:
    """The last layer's weights, (1, inputs): what members pooled lies side by side, and they share the class token."""
    parts = []
    for head, share in zip(heads, shares, strict=True):
        hidden = head.shape.members * head.shape.hidden
        parts.append((head.answer.weight * share).split([hidden, hidden, head.channels, head.shape.members], dim=1))
    attended, mean, token, best = zip(*parts, strict=True)
    return torch.cat([*attended, *mean, sum(token), *best], dim=1)
