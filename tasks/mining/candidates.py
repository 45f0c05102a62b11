"""From candidates to a selection: refuse what is known or held out, then select from the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.config import MineParams
from tasks.config.scale import SelectionParams
from tasks.data.near_duplicates import compare_hashes, near_pairs
from tasks.mining.coresets import Shards, Spread, in_turn
from tasks.mining.greedy import Pool, Selection, SelectionLimits
from tasks.mining.index import indexed, search_hashes
from tasks.mining.scoring import Reference, ScoredCandidates
from tasks.mining.select import select
from tasks.mining.space import Compared, Space, uncertainty
from tasks.mining.stored import Subset


@dataclass(frozen=True)
class PoolScores:
    """Scored pictures: the candidates, the held-out splits, the training split, and the space of their embeddings."""

    found: ScoredCandidates
    held_out: Sequence[Reference]
    train: Reference
    space: Space


def choose_candidates(
    params: MineParams, scores: PoolScores, scale: SelectionParams | None = None, spread: Spread = in_turn
) -> tuple[Selection, dict[str, int]]:
    """Refuse what a held-out or training picture shows, by place, digest and perceptual hash; select from the rest.

    Args:
        params: section `mine`.
        scores: of all pictures.
        scale: shards and index, `scale.selection`; by default neither.
        spread: works on the shards.

    Returns:
        The choice, by rows of the candidates, and how many were refused, by reason.

    Raises:
        MissingExtraError: the index's library is not installed.
    """
    scale = scale or SelectionParams()
    search = search_hashes if scale.near_duplicates == "index" else compare_hashes
    found, held_out, train = scores.found, scores.held_out, scores.train
    places = {place for reference in held_out for place in reference.place} - {""}
    reasons = np.full(len(found.all), "", dtype=object)
    for reference in (train, *held_out):
        reason = "known" if reference is train else "near_challenge"
        reasons[np.isin(found.scores.keys, reference.scores.keys)] = reason
        for row, _, _ in near_pairs(found.thumbnails, reference.thumbnails, params.near_duplicate_bits, search):
            reasons[row] = reason
    reasons[np.isin([one.place for one in found.all], list(places))] = "near_challenge"
    rows = np.flatnonzero(reasons == "")
    inner = select(
        _pool(found, rows),
        _limits(params),
        strategy=params.strategy,
        space=scores.space,
        challenge=np.concatenate([reference.scores.vectors[:] for reference in held_out]),
        known=train.scores.vectors[:],
        seed=params.seed,
        **_scaled(scale, spread),
    )
    chosen = Selection([int(rows[row]) for row in inner.rows], coverage=inner.coverage)
    refused = Counter(reason for reason in reasons.tolist() if reason)
    refused["near_challenge"] += len(inner.near_challenge)
    refused["known"] += len(inner.near_known)
    refused["near_chosen"] += len(inner.near_chosen)
    return chosen, dict(refused)


def _scaled(scale: SelectionParams, spread: Spread) -> dict[str, Any]:
    """Shards and index, as `select` takes them."""
    search = partial(indexed, scale.probes) if scale.near_duplicates == "index" else Compared
    shards = Shards(scale.shard_rows, scale.shard_centres, spread) if scale.shard_rows else None
    return {"shards": shards, "search": search}


def _limits(params: MineParams) -> SelectionLimits:
    return SelectionLimits(
        params.budget,
        params.shortlist,
        params.class_share,
        params.place_quota,
        params.duplicate_distance,
        params.challenge_distance,
    )


def _pool(found: ScoredCandidates, rows: NDArray[np.int64]) -> Pool:
    p = found.scores.probability[rows]
    served = np.array([found.all[row].probability for row in rows], dtype=np.float64)
    # hard is what either found hard: the probe, or the cascade when it answered
    weight = np.fmax(uncertainty(p), uncertainty(served))
    candidates = [found.all[row] for row in rows]
    vectors = Subset(found.scores.vectors, rows)
    return Pool(vectors, p, [one.place for one in candidates], [one.sha256 for one in candidates], weight)
