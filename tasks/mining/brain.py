"""FiftyOne Brain over our own embeddings: every method gets vectors, so that none downloads a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.mining.database import plain_words
from tasks.mining.samples import CANDIDATE, PREDICTION, TRUTH
from tasks.mining.space import Space

SIMILARITY, MAP = "similarity", "map"
HARDNESS, UNIQUENESS, MISTAKENNESS = "hardness", "uniqueness", "mistakenness"
HELD_OUT = ("challenge", "calibration")
DECIMALS = 5


@dataclass(frozen=True)
class Findings:
    """What the Brain found; pictures are named by sha256.

    Attributes:
        hardness: entropy of the probe's logits, of candidates.
        uniqueness: 0 to 1, of candidates.
        mistakenness: 0 to 1, of labelled pictures.
        exact: candidates whose file is a copy of another's.
        near: candidates near another candidate that stands for both.
        leaks: candidates near a held-out picture.
        keys: of every picture on the map.
        parts: the part of each.
        points: its place on the map, (n, 2).
    """

    hardness: dict[str, float]
    uniqueness: dict[str, float]
    mistakenness: dict[str, float]
    exact: set[str]
    near: set[str]
    leaks: set[str]
    keys: list[str]
    parts: list[str]
    points: NDArray[np.float64]


def study(view: Any, space: Space, *, duplicate_distance: float, leak_distance: float, seed: int) -> Findings:
    """Run the Brain over a view that is ordered by sha256; its fields and indexes stay in the dataset for the App.

    Args:
        view: candidates, held-out and labelled pictures, at least one candidate.
        space: where distances are measured.
        duplicate_distance: cosine, below it two candidates count as one.
        leak_distance: cosine, below it a candidate leaks from a held-out part.
        seed: of the map.

    Raises:
        DatabaseDown: the database does not answer.
    """
    import fiftyone.brain as fob
    from fiftyone import ViewField

    with plain_words():
        candidates = view.match(ViewField("part") == CANDIDATE)
        known = view.match((ViewField("part") != "challenge") & ViewField(f"{TRUTH}.label").exists())
        fob.compute_hardness(candidates, PREDICTION, hardness_field=HARDNESS, progress=False)
        fob.compute_uniqueness(
            candidates, uniqueness_field=UNIQUENESS, embeddings=_units(candidates, space), progress=False
        )
        if len(known):
            fob.compute_mistakenness(known, PREDICTION, TRUTH, mistakenness_field=MISTAKENNESS, progress=False)
        units = _units(view, space)
        points = _map(view, units, seed)
        return Findings(
            hardness=_field(candidates, HARDNESS),
            uniqueness=_field(candidates, UNIQUENESS),
            mistakenness=_field(known, MISTAKENNESS) if len(known) else {},
            exact=_exact(candidates),
            near=_near(candidates, space, duplicate_distance),
            leaks=_leaks(view, units, leak_distance),
            keys=view.values("sha256"),
            parts=view.values("part"),
            points=points,
        )


def _units(view: Any, space: Space) -> NDArray[np.float32]:
    return space.unit(np.array(view.values("embedding"), dtype=np.float32))


def _field(view: Any, name: str) -> dict[str, float]:
    keys, values = view.values(["sha256", name])
    return {key: round(float(value), DECIMALS) for key, value in zip(keys, values, strict=True) if value is not None}


def _map(view: Any, units: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Index the view for the App's similarity search and its embeddings panel; gives the panel's points."""
    import fiftyone.brain as fob

    dataset = view._dataset
    for key in (SIMILARITY, MAP):
        if dataset.has_brain_run(key):
            dataset.delete_brain_run(key)
    _index(view, units, SIMILARITY)
    found = fob.compute_visualization(
        view, brain_key=MAP, method="pca", num_dims=2, seed=seed, embeddings=units, progress=False
    )
    return np.asarray(found.points, dtype=np.float64)


def _index(view: Any, units: NDArray[np.float32], key: str | None = None) -> Any:
    """Index unit vectors by Euclidean distance, as the Brain moves their centre, in place, and so changes cosines."""
    import fiftyone.brain as fob

    return fob.compute_similarity(
        view, brain_key=key, backend="sklearn", metric="euclidean", embeddings=units.copy(), progress=False
    )


def _euclidean(cosine_distance: float) -> float:
    """The distance of two unit vectors whose cosine distance is given."""
    return float(np.sqrt(2 * cosine_distance))


def _exact(view: Any) -> set[str]:
    import fiftyone.brain as fob

    copies = fob.compute_exact_duplicates(view, progress=False)
    return _digests(view, [one for others in copies.values() for one in others])


def _near(view: Any, space: Space, distance: float) -> set[str]:
    import fiftyone.brain as fob

    if len(view) < 2:
        return set()
    index = fob.compute_near_duplicates(
        view, threshold=_euclidean(distance), similarity_index=_index(view, _units(view, space)), progress=False
    )
    return _digests(view, index.duplicate_ids)


def _leaks(view: Any, units: NDArray[np.float32], distance: float) -> set[str]:
    import fiftyone.brain as fob
    from fiftyone import ViewField

    splits = {part: view.match(ViewField("part") == part) for part in (CANDIDATE, *HELD_OUT)}
    index = fob.compute_leaky_splits(
        view, splits, threshold=_euclidean(distance), similarity_index=_index(view, units), progress=False
    )
    return _digests(splits[CANDIDATE], index.leak_ids)


def _digests(view: Any, ids: list[str]) -> set[str]:
    digest = dict(zip(*view.values(["id", "sha256"]), strict=True))
    return {digest[one] for one in ids if one in digest}
