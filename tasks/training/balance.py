"""How much each picture counts in a loss: for the prior, and for sources of very different size.

Each label gets the prior's share of the loss. Within a label the sources share it in proportion to weight * n^power,
where n is the number of the source's pictures with that label: a power below one keeps a large source from hiding a
small one, and is how multilingual models balance languages (Conneau and Lample 2019, arXiv:1901.07291, section 3.1).
Labels and sources are balanced together, since most sources of photographs have one label alone: a source must not tell
the label by how often it comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.evaluate.prior import prior_weights

if TYPE_CHECKING:
    from tasks.config import Params

MAIN = ""  # the group of the main source and of what is made from it: rendered, sdxl, mined


@dataclass(frozen=True)
class Balance:
    """Weights of pictures in a loss.

    Attributes:
        prior: share of roadwork; None for the data's own.
        weights: of the further sources by name; the main source has 1.
        power: see the module; 1 counts every picture alike.
    """

    prior: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    power: float = 1.0

    def group(self, source: str) -> str:
        """The group that a row's source belongs to: itself for a further source, MAIN otherwise."""
        return source if self._name(source) in self.weights else MAIN

    def of(self, label: ArrayLike, source: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Weights of pictures.

        Args:
            label: 0 or 1, (n,).
            source: of each picture, n names; None where all are of the main source.

        Returns:
            (n,), their sum is n. Without further sources they are those of `cascade.evaluate.prior.prior_weights`.
        """
        labels, weight = np.asarray(label), prior_weights(label, self.prior)
        if source is None or not self.weights:
            return weight
        groups = np.array([self.group(one) for one in source])
        for value in np.unique(labels):
            rows = labels == value
            weight[rows] *= self._within(groups[rows])
        return weight

    def _within(self, groups: NDArray[np.str_]) -> NDArray[np.float64]:
        """Factors of the pictures of one label, their mean is 1."""
        names, index, count = np.unique(groups, return_inverse=True, return_counts=True)
        share = np.array([self.weights.get(self._name(str(name)), 1.0) for name in names]) * count**self.power
        each = share / share.sum() * len(groups) / count
        return np.asarray(each[index])

    @staticmethod
    def of_params(params: Params) -> Balance:
        """The balance that the parameters ask for."""
        weights = {one.name: one.weight for one in params.pull.beside}
        return Balance(params.prior, weights, params.pull.source_power)

    @staticmethod
    def _name(source: str) -> str:
        return source.partition("/")[0]
