"""A sheet of challenge pictures that a release answers wrong; rendered ones alone, which we may show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cascade.probability import CUT
from cascade.release.store import Release
from tasks.common.sheets import Cells, Tile, contact_sheet
from tasks.config import ValidateParams
from tasks.data.schema import split_file
from tasks.validation.predictions import SOURCE, ChallengePredictions, challenge_views, predict_challenge

MOST = 12
OURS = "rendered"  # the source whose pictures are ours; photographs of others never enter the repository
CELLS = Cells(width=224, height=224, columns=4, edge=2, caption=16)
WORDS = {0: "clear", 1: "works"}


def write_sheet(release: Release, params: ValidateParams, pulled: Path, path: Path) -> int:
    """Run the classifier of a release on the challenge set and draw the pictures that it is most surely wrong on.

    Args:
        release: whose engine answers.
        params: section `validate`, whose views they are.
        pulled: data/pulled.
        path: the JPEG.

    Returns:
        How many pictures it shows; without any no sheet is written.

    Raises:
        tasks.data.schema.DataError: the challenge set is missing.
        cascade.engines.base.EngineError: the classifier cannot be loaded.
    """
    predictions = predict_challenge(params, release.folder, pulled)
    rows = surest_errors(predictions)
    if rows:
        contact_sheet(
            _tiles(rows, predictions, params, split_file(pulled, "challenge"), release.manifest.size), path, CELLS
        )
    return len(rows)


def surest_errors(predictions: ChallengePredictions) -> list[int]:
    """Rows of rendered views that are answered wrong, surest first; one a place, so that no street fills the sheet.

    A roadwork view whose crop left no works is no error that a picture could show.
    """
    wrong = (predictions.p > CUT) != (predictions.label == 1)
    shown = wrong & predictions.answerable & (predictions.slices[SOURCE] == OURS)
    rows = np.flatnonzero(shown)
    rows = rows[np.argsort(-np.abs(predictions.p[rows] - CUT), kind="stable")]
    first: dict[str, int] = {}
    for row in rows.tolist():
        first.setdefault(str(predictions.place[row]), row)
    return list(first.values())[:MOST]


def _tiles(
    rows: Sequence[int], predictions: ChallengePredictions, params: ValidateParams, challenge: Path, size: int
) -> list[Tile]:
    from PIL import Image

    wanted = set(rows)
    pixels = {
        number: view.pixels for number, view in enumerate(challenge_views(challenge, params, size)) if number in wanted
    }
    return [Tile(Image.fromarray(pixels[row]), _caption(predictions, row), "white") for row in rows]


def _caption(predictions: ChallengePredictions, row: int) -> str:
    known = [str(values[row]) for name, values in predictions.slices.items() if name != SOURCE and values[row]]
    label = WORDS[int(predictions.label[row])]
    return f"{label}, p {predictions.p[row]:.2f}, level {predictions.level[row]}, {' '.join(known[:2])}"
