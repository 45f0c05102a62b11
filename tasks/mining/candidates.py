"""From candidates to a selection: refuse what is known or held out, then select from the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.config import MineParams
from tasks.data.near_duplicates import near_pairs
from tasks.mining.greedy import Pool, Selection, SelectionLimits
from tasks.mining.scoring import Reference, ScoredCandidates
from tasks.mining.select import select
from tasks.mining.space import Space, uncertainty


@dataclass(frozen=True)
class PoolScores:
    """Scored pictures: the candidates, the held-out splits, the training split, and the space of their embeddings."""

    found: ScoredCandidates
    held_out: Sequence[Reference]
    train: Reference
    space: Space


def choose_candidates(params: MineParams, scores: PoolScores) -> tuple[Selection, dict[str, int]]:
    """Refuse what a held-out or training picture shows, by place, digest and perceptual hash; select from the rest."""
    found, held_out, train = scores.found, scores.held_out, scores.train
    places = {place for reference in held_out for place in reference.place} - {""}
    reasons = np.full(len(found.all), "", dtype=object)
    for reference in (train, *held_out):
        reason = "known" if reference is train else "near_challenge"
        reasons[np.isin(found.scores.keys, reference.scores.keys)] = reason
        for row, _, _ in near_pairs(found.thumbnails, reference.thumbnails, params.near_duplicate_bits):
            reasons[row] = reason
    reasons[np.isin([one.place for one in found.all], list(places))] = "near_challenge"
    rows = np.flatnonzero(reasons == "")
    inner = select(
        _pool(found, rows),
        _limits(params),
        strategy=params.strategy,
        space=scores.space,
        challenge=np.concatenate([reference.scores.vectors for reference in held_out]),
        known=train.scores.vectors,
        seed=params.seed,
    )
    chosen = Selection([int(rows[row]) for row in inner.rows])
    refused = Counter(reason for reason in reasons.tolist() if reason)
    refused["near_challenge"] += len(inner.near_challenge)
    refused["known"] += len(inner.near_known)
    refused["near_chosen"] += len(inner.near_chosen)
    return chosen, dict(refused)


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
    vectors = found.scores.vectors[rows]
    return Pool(vectors, p, [one.place for one in candidates], [one.sha256 for one in candidates], weight)
