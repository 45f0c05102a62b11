"""Section `mine` for tests, so that they do not hang on what params.yaml says today."""

from __future__ import annotations

from tasks.config import MineParams


def mine_params(**changes: object) -> MineParams:
    """Give section `mine` with some values of one's own."""
    given: dict[str, object] = {
        "strategy": "uncertain_diverse",
        "budget": 4,
        "shortlist": 10,
        "class_share": 1.0,
        "place_quota": 6,
        "duplicate_distance": 0.15,
        "challenge_distance": 0.15,
        "near_duplicate_bits": 4,
        "max_pixels": 1_000_000,
        "min_side": 32,
        "batch_size": 8,
        "dataset": "test",
        "dataset_limit": 1000,
        "seed": 7,
    }
    return MineParams.model_validate({**given, **changes})
