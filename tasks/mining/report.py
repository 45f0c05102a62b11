"""The report of a mining run: facts of each picture, counts of the run, and the other keys of the manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.config import MineParams
from tasks.mining.batch import MinedImage
from tasks.mining.brain import Findings
from tasks.mining.greedy import Selection
from tasks.mining.media import media_file
from tasks.mining.scoring import Reference, ScoredCandidates
from tasks.mining.space import Space, nearest, uncertainty

SHOWN = 20  # of the labelled pictures whose label is doubtful


def pictures(
    found: ScoredCandidates, chosen: Selection, train: Reference, space: Space, findings: Findings, media: Path
) -> list[MinedImage]:
    """The chosen pictures, best first, with the facts of each for the manifest."""
    known = space.unit(train.scores.vectors[:])
    mined = []
    for row in chosen.rows:
        one, p = found.all[row], float(found.scores.probability[row])
        facts = {
            "name": one.name,
            "origin": one.origin,
            "reason": one.reason,
            "place": one.place,
            "probability": round(p, 5),
            "served_probability": one.probability,
            "uncertainty": round(float(uncertainty(np.array([p]))[0]), 5),
            "hardness": findings.hardness.get(one.sha256),
            "uniqueness": findings.uniqueness.get(one.sha256),
            "distance_to_known": round(float(nearest(space.unit(found.scores.vectors[row : row + 1]), known)[0]), 4),
        }
        mined.append(MinedImage(media_file(one.sha256, media).read_bytes(), one.place, one.slices, facts))
    return mined


def counts(
    params: MineParams, found: ScoredCandidates, chosen: Selection, refused: dict[str, int], findings: Findings
) -> dict[str, Any]:
    """The metrics of the step: numbers of candidates, of chosen and refused pictures, and what the Brain found."""
    rows = chosen.rows
    covered = {name: round(value, 5) for name, value in asdict(chosen.coverage).items()} if chosen.coverage else None
    return {
        "candidates": len(found.all),
        "repeated": found.repeated,
        "chosen": len(rows),
        "budget": params.budget,
        "predicted_roadwork": int((found.scores.probability[rows] > 0.5).sum()),
        "places": len({found.all[row].place for row in rows}),
        "origins": dict(Counter(found.all[row].origin for row in rows)),
        "refused": {name: refused.get(name, 0) for name in ("near_challenge", "known", "near_chosen")},
        **({"coverage": covered} if covered else {}),
        "mean_uncertainty": _mean(uncertainty(found.scores.probability[rows])),
        "mean_uncertainty_of_all": _mean(uncertainty(found.scores.probability)),
        "brain": {
            "exact_duplicates": len(findings.exact),
            "near_duplicates": len(findings.near),
            "leaks": len(findings.leaks),
            "doubtful_labels": sum(value > 0.5 for value in findings.mistakenness.values()),
        },
    }


def _mean(values: NDArray[np.float64]) -> float:
    return round(float(values.mean()), 4) if len(values) else 0.0


def manifest(params: MineParams, date: str, counted: dict[str, Any], findings: Findings) -> dict[str, Any]:
    """The manifest beside files and pictures; without times and paths, so that the same data gives the same bytes."""
    doubts = sorted(findings.mistakenness.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    return {
        "date": date,
        "counts": counted,
        "params": params.model_dump(),
        "doubtful_labels": [{"sha256": key, "mistakenness": value} for key, value in doubts],
    }
