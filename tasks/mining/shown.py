"""Which pictures the FiftyOne dataset gets: what was chosen, what is hard, and what they are compared with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tasks.config import MineParams
from tasks.mining.candidates import PoolScores
from tasks.mining.greedy import Selection
from tasks.mining.samples import CANDIDATE, FiftyOneSample
from tasks.mining.scoring import Reference, ScoredCandidates
from tasks.mining.space import uncertainty


def shown_samples(params: MineParams, scores: PoolScores, chosen: Selection) -> list[FiftyOneSample]:
    """Chosen candidates and the hardest others, held-out pictures, and training pictures with the most doubtful labels.

    Args:
        params: section `mine`; `dataset_limit` holds for candidates and for training pictures.
        scores: of all pictures.
        chosen: rows of the candidates.
    """
    shown = {sample.sha256: sample for sample in _candidates(scores.found, chosen, params.dataset_limit)}
    for reference in (*scores.held_out, scores.train):
        limit = params.dataset_limit if reference.part == "train" else len(reference.label)
        shown |= {sample.sha256: sample for sample in _labelled(reference, limit)}
    return list(shown.values())


def _candidates(found: ScoredCandidates, chosen: Selection, limit: int) -> Iterator[FiftyOneSample]:
    p, keys = found.scores.probability, np.asarray(found.scores.keys)
    first = np.isin(np.arange(len(p)), chosen.rows)
    for row in np.lexsort((keys, -uncertainty(p), ~first))[:limit]:
        one, vector = found.all[row], found.scores.vectors[row]
        yield FiftyOneSample(one.sha256, CANDIDATE, one.place, one.origin, one.reason, float(p[row]), vector)


def _labelled(reference: Reference, limit: int) -> Iterator[FiftyOneSample]:
    p, keys = reference.scores.probability, reference.scores.keys
    doubt = np.abs(p - np.asarray(reference.label))
    for row in np.argsort(-doubt, kind="stable")[:limit]:
        place, label, vector = reference.place[row], reference.label[row], reference.scores.vectors[row]
        yield FiftyOneSample(keys[row], reference.part, place, "data", reference.part, float(p[row]), vector, label)
