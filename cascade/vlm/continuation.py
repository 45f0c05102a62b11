"""A question that a model has read, kept so that further tokens cost their own pass alone (key-value cache)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass
class Continuation:
    """One row of a batch behind its last token.

    Attributes:
        cache: keys and values of the tokens so far, a `transformers.Cache` of batch 1; the model's pass makes it grow.
        mask: which of them are no padding, (1, tokens).
        delta: by how much the next position is off the count of tokens, (1, 1), for a model that gives the patches of a
            picture positions in three dimensions (GLM-4.6V); None for positions that are counted.
    """

    cache: Any
    mask: torch.Tensor
    delta: torch.Tensor | None

    @classmethod
    def of_row(cls, model: Any, inputs: Mapping[str, torch.Tensor], cache: Any, row: int) -> Continuation:
        """Take one row out of what a pass over `inputs` has left.

        Args:
            model: right after that pass; it keeps the offsets of its positions in itself.
            inputs: of the pass.
            cache: that the pass gave back; it stays as it is.
            row: of the batch.
        """
        import torch

        ids = inputs["input_ids"]
        mask = inputs.get("attention_mask", torch.ones_like(ids))[row : row + 1]
        deltas = getattr(model.model, "rope_deltas", None)
        return cls(_row_of(cache, torch.tensor([row], device=ids.device)), mask, _delta(deltas, row))

    def inputs(self, ids: list[int]) -> dict[str, Any]:
        """What the model takes for further tokens."""
        import torch

        fresh = torch.tensor([ids], device=self.mask.device)
        self.mask = torch.cat([self.mask, torch.ones_like(fresh, dtype=self.mask.dtype)], dim=1)
        given = {"input_ids": fresh, "attention_mask": self.mask, "past_key_values": self.cache}
        if self.delta is not None:
            places = (self.mask.long().cumsum(dim=1) - 1)[:, -len(ids) :] + self.delta
            given["position_ids"] = places.unsqueeze(0).expand(3, -1, -1)
        return given


def _delta(deltas: torch.Tensor | None, row: int) -> torch.Tensor | None:
    return None if deltas is None else deltas[row : row + 1].clone()


def _row_of(cache: Any, rows: torch.Tensor) -> Any:
    """A cache of these rows beside the first one: layers assign new tensors and never write into old ones."""
    found = copy.copy(cache)
    found.layers = [copy.copy(layer) for layer in cache.layers]
    found.batch_select_indices(rows)
    return found
