"""What a report of a trained head says beside its scores: raw against averaged weights, and shortcuts by the source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.data.feature_store import SplitFeatures
from tasks.data.shortcuts import find_shortcuts
from tasks.training.raw_and_averaged import compare_weights, spread_rows

if TYPE_CHECKING:
    from tasks.classifier.head import Head

PICTURES = 64  # held aside from training, all views of each


class RawHead:
    """Keeps what the weights of the last step answer on some pictures, before their mean takes their place.

    Args:
        aside: a split that is not trained on.
    """

    def __init__(self, aside: SplitFeatures) -> None:
        keep = np.zeros(len(aside.label), dtype=bool)
        keep[spread_rows(aside.label, PICTURES)] = True
        self._aside = aside.only(keep)
        self._logit: NDArray[np.float64] | None = None

    def __call__(self, head: Head) -> None:
        """Answer with the raw weights."""
        self._logit = head.logits(self._aside.x).ravel()

    def beside(self, head: Head, prior: float | None) -> dict[str, Any]:
        """Compare with the averaged weights, which `head` has; see `compare_weights`."""
        assert self._logit is not None  # noqa: S101  # for mypy: a head is trained before it is measured
        label = np.repeat(self._aside.label, self._aside.x.shape[1])
        averaged = head.logits(self._aside.x).ravel()
        return compare_weights(label, self._logit, averaged, prior=prior, setting="train.average")


def source_shortcuts(head: Head, learned: SplitFeatures, seed: int) -> dict[str, Any]:
    """Look for shortcuts in what the head's last layer reads of the training pictures, in their first view.

    Args:
        head: in evaluation mode.
        learned: the training split.
        seed: see `find_shortcuts`.
    """
    return find_shortcuts(
        lambda rows: last_inputs(head, learned.x[rows, 0]), learned.label, learned.source, learned.place, seed
    )


def last_inputs(head: Head, x: NDArray[Any]) -> NDArray[np.float64]:
    """What the head's last layer reads: features (n, width) to (n, inputs), pooled over patches by a conv head."""
    import torch

    layer, found = head.last_layer, []
    hook = layer.register_forward_pre_hook(lambda _, given: found.append(given[0].float().cpu()))
    try:
        head.logits(x)
    finally:
        hook.remove()
    return torch.cat(found).double().numpy()  # type: ignore[no-any-return]
