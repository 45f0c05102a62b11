"""What heads are trained with: import this only where torch is wanted, it loads at the top."""

from __future__ import annotations

import torch
from torch.nn import functional

from tasks.classifier.head import Head
from tasks.config.learn import TrainParams


def head_loss(
    head: Head,
    x: torch.Tensor,
    y: torch.Tensor,
    cover: torch.Tensor | None,
    params: TrainParams,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Focal loss of pictures, and of their patches where boxes are known.

    A view of a roadwork picture whose crop left no works tells nothing but which street it is, which must not be learnt
    by heart: its label does not count, its patches do.

    Args:
        head: in training mode.
        x: features, (n, width).
        y: labels, (n,), 0 or 1.
        cover: share of each patch under a box, NaN where nothing is known, (n, patches); None where no patch is scored.
        params: section `train`.
        weight: of each picture's label, (n,), 1 on average over the training; None: all alike. Patches are not
            weighted: most of them are clear whatever their picture shows.

    Returns:
        A scalar.
    """
    logit, patches = head.with_patches(x)
    counts = None if cover is None else has_visible_label(y, cover, params.box_covered)
    focal = {"gamma": params.gamma, "alpha": params.alpha, "smoothing": params.label_smoothing}
    loss = focal_loss(logit, y, **focal, counts=counts, weight=weight)
    if patches is not None and cover is not None:
        loss = loss + params.box_weight * box_loss(patches, cover, params)
    return loss


def has_visible_label(y: torch.Tensor, cover: torch.Tensor, covered: float) -> torch.Tensor:
    """Say which views show what their label says; those that lost their works do not.

    Args:
        y: labels, (n,), 0 or 1.
        cover: share of each patch under a box, NaN where nothing is known, (n, patches).
        covered: share from which a patch counts as works.

    Returns:
        1 or 0 a view, (n,).
    """
    return ((y == 0) | ~(cover < covered).all(dim=1)).float()


def box_loss(patches: torch.Tensor, cover: torch.Tensor, params: TrainParams) -> torch.Tensor:
    """Cross-entropy of patch logits against the boxes; patches that are half covered or unknown (NaN) do not count.

    Args:
        patches: logits, (n, patches).
        cover: share of each patch under a box, (n, patches).
        params: section `train`.

    Returns:
        A scalar: the mean over the patches that count.
    """
    works = cover >= params.box_covered
    known = works | (cover <= params.box_free)
    weight = torch.tensor(params.box_positive_weight, device=patches.device)
    loss = functional.binary_cross_entropy_with_logits(patches, works.float(), pos_weight=weight, reduction="none")
    return (loss * known).sum() / known.sum().clamp_min(1)


def focal_loss(
    logit: torch.Tensor,
    label: torch.Tensor,
    *,
    gamma: float,
    alpha: float,
    smoothing: float,
    counts: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Binary focal loss of Lin et al. 2017 with smoothed labels, mean over the batch.

    Args:
        logit: (n,).
        label: (n,), 0 or 1.
        gamma: how strongly easy examples are played down; 0 gives cross-entropy.
        alpha: weight of roadwork; clear ones weigh 1 - alpha.
        smoothing: labels become smoothing/2 and 1 - smoothing/2.
        counts: (n,), 0 for pictures that are left out, else 1; None: all count.
        weight: (n,), of each picture, 1 on average over the training; None: all alike. The mean is by number of
            pictures, so that a batch with more of a heavy label counts for more.
    """
    target = label * (1 - smoothing) + smoothing / 2
    loss = functional.binary_cross_entropy_with_logits(logit, target, reduction="none")
    # distance of the probability from its target: the 1 - p_t of the paper, which smoothing must not turn negative
    distance = (torch.sigmoid(logit) - target).abs()
    balance = alpha * label + (1 - alpha) * (1 - label)
    each = 2 * balance * distance**gamma * loss
    if weight is not None:
        each = weight * each
    return each.mean() if counts is None else (each * counts).sum() / counts.sum().clamp_min(1)
