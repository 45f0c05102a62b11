"""Logits of photographs that ship with the adapter: scaling, cut and exits are fitted on them without the pictures.

Photographs may not be passed on where their licence forbids it; the numbers that a head answered them with may. They
are those of one head, named by its digest. `train` goes on with that head and moves it a little, which it measures on
the calibration split: beyond `train.max_shift` the kept logits say nothing of the new head, and are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.evaluate.scores import classification_scores
from tasks.classifier.calibrate import PHOTOGRAPHS, CalibrationLogits
from tasks.classifier.weights import LOGITS_FILE
from tasks.common.files import read_json, sha256_file, write_json
from tasks.data.schema import DataError

if TYPE_CHECKING:
    from tasks.classifier.trained import TrainedClassifier
    from tasks.config.learn import TrainParams

Floats = NDArray[np.float64]


def write_logits(rows: CalibrationLogits, sources: set[str], folder: Path) -> int:
    """Write calibration_logits.json beside the head that answered: four decimals, as much as a figure needs.

    Args:
        rows: of the calibration split.
        sources: those of `pull.beside` by name, whose rows are kept.
        folder: of the adapter, with its head.

    Returns:
        How many were kept.

    Raises:
        DataError: there is none of these sources.
    """
    from tasks.classifier.head import HEAD_FILE

    kept = [number for number, source in enumerate(rows.source) if source.partition("/")[0] in sources]
    if not kept:
        raise DataError(
            "the calibration split has no pictures of a further source; pull.beside in params.yaml adds them"
        )
    document = {"head": sha256_file(folder / HEAD_FILE), "rows": [_row(rows, number) for number in kept]}
    write_json(folder / LOGITS_FILE, document)
    return len(kept)


def _row(rows: CalibrationLogits, number: int) -> dict[str, Any]:
    name, _, own = rows.source[number].partition("/")
    return {
        "source": f"{PHOTOGRAPHS}/{own or name}",
        "place": rows.place[number],
        "label": int(rows.label[number]),
        "logit": round(float(rows.logit[number]), 4),
        "augmented": {kind: round(float(one), 4) for kind, one in zip(rows.kinds, rows.augmented[number], strict=True)},
    }


def read_kept_logits(folder: Path) -> CalibrationLogits | None:
    """Read what lies beside the head that a training begins with; None where nothing does.

    Raises:
        DataError: the file is damaged, or of another head.
    """
    from tasks.classifier.head import HEAD_FILE

    file = folder / LOGITS_FILE
    if not file.is_file():
        return None
    try:
        document = read_json(file)
        head, rows = document["head"], document["rows"]
        kinds = tuple(rows[0]["augmented"])
        kept = CalibrationLogits(
            np.array([row["logit"] for row in rows], dtype=np.float64),
            np.array([[row["augmented"][kind] for kind in kinds] for row in rows], dtype=np.float64),
            np.array([row["label"] for row in rows], dtype=np.int64),
            [str(row["place"]) for row in rows],
            [str(row["source"]) for row in rows],
            kinds,
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: damaged ({error!r}); restore it from git, or delete it") from error
    if head != sha256_file(folder / HEAD_FILE):
        raise DataError(
            f"{file}: of another head than {folder / HEAD_FILE}; `python -m tasks.train --keep-logits` writes it again"
        )
    return kept


def shift(start: Floats, trained: Floats) -> float:
    """How far training moved a head's logits on the same views, (n,) each: the mean distance."""
    return float(np.abs(trained - start).mean())


def scores_on(kept: CalibrationLogits, trained: TrainedClassifier, params: TrainParams, moved: float) -> dict[str, Any]:
    """Scores on the kept photographs, as the head answered them before training moved it by `moved`."""
    p = trained.calibration(kept.only(trained.tta_views).served(trained.calibration, params))
    scores = classification_scores(kept.label, p, prior=trained.prior)
    return {"count": len(kept.label), "shift": round(moved, 4), **{k: round(v, 6) for k, v in scores.items()}}
