"""Step `mine`: from many unlabelled pictures to the few that are worth labelling.

`python -m tasks.mine` looks at the pool split, writes data/mined and keeps the FiftyOne dataset up to date, which
people open to review. The nightly flow does the same with inbox, folders and clips.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.common.files import write_json
from tasks.config import ConfigError, MineParams, load_params
from tasks.data.feature_store import FEATURES
from tasks.data.schema import DataError, split_file
from tasks.mining import batch as batches
from tasks.mining import report
from tasks.mining.brain import Findings, study
from tasks.mining.candidates import PoolScores, choose_candidates
from tasks.mining.database import DATABASE, DatabaseDown, connect
from tasks.mining.dataset import (
    CANDIDATE,
    MEDIA,
    FiftyOneSample,
    chosen_from,
    has_view,
    media_file,
    open_dataset,
    put,
    save_view,
    writing,
)
from tasks.mining.pictures import draw_map
from tasks.mining.scoring import ProbeScorer, ScoredCandidates, score_candidates, score_split
from tasks.mining.select import Selection
from tasks.mining.space import Space, uncertainty

if TYPE_CHECKING:
    from tasks.mining.sources import Candidate

PULLED, MINED = Path("data/pulled"), Path("data/mined")
CHALLENGE, CALIBRATION, KNOWN = (split_file(PULLED, split) for split in ("challenge", "calibration", "train"))
BACKBONE, PROBE = Path("models/adapted"), Path("models/probe")
REPORT, PLOT = Path("reports/mine/metrics.json"), Path("reports/mine/plots/embedding.png")


@dataclass(frozen=True)
class MiningInputs:
    """What mining looks with, what it compares with, and where it shows what it found.

    Attributes:
        backbone: models/adapted.
        head: models/probe or models/head.
        challenge: parquet file of the challenge split: nothing near it is chosen.
        calibration: the same for the calibration split.
        known: parquet file of the training split: copies of it are dropped, and its labels are doubted.
        features: data/features, where splits may be embedded already.
        database: folder of our own MongoDB.
        media: where FiftyOne finds the files.
    """

    backbone: Path = BACKBONE
    head: Path = PROBE
    challenge: Path = CHALLENGE
    calibration: Path = CALIBRATION
    known: Path = KNOWN
    features: Path | None = FEATURES
    database: Path = DATABASE
    media: Path = MEDIA


def mine(
    params: MineParams,
    candidates: Iterable[Candidate],
    *,
    batch: Path,
    date: str,
    inputs: MiningInputs | None = None,
    plot: Path | None = None,
) -> dict[str, Any]:
    """Choose what to label, write the batch, and show all of it in FiftyOne.

    Args:
        params: section `mine`.
        candidates: pictures that decode; the bytes of one at a time are held.
        batch: the batch's folder; a complete one is returned untouched.
        date: day of the batch, or "" for the pipeline's own.
        inputs: everything else that is read.
        plot: PNG of the embeddings, if wanted.

    Returns:
        Counts, the batch's own for a complete one.

    Raises:
        DatabaseDown: FiftyOne's database does not answer; no batch is written then.
        DataError: a file is missing, a complete batch was changed, or there is no candidate.
    """
    inputs = inputs or MiningInputs()
    finished = batches.complete(batch)
    fo = connect(inputs.database)
    if finished is not None:
        _show_again(fo, params, batch, finished, inputs.database)
        done: dict[str, Any] = finished["counts"]
        return done
    looks = _look(params, candidates, inputs)
    chosen, refused = choose_candidates(params, looks)
    shown = _shown(params, looks, chosen)
    with writing(inputs.database):
        dataset = open_dataset(fo, params.dataset)
        put(fo, dataset, shown, inputs.media)
        findings = _study(params, chosen_from(dataset, [picture.sha256 for picture in shown]), looks.space)
        counts = report.counts(params, looks.found, chosen, refused, findings)
        keys = [looks.found.looked.keys[row] for row in chosen.rows]
        save_view(dataset, batch.name, keys)
        pictures = report.pictures(looks.found, chosen, looks.train, looks.space, findings, inputs.media)
        batches.write(batch, pictures, report.manifest(params, date, counts, findings))
    if plot is not None:
        draw_map(findings.points, findings.parts, np.isin(findings.keys, keys), plot)
    _forget_media(looks.found, shown, inputs.media)
    return counts


def _look(params: MineParams, candidates: Iterable[Candidate], inputs: MiningInputs) -> PoolScores:
    eye = ProbeScorer(inputs.backbone, inputs.head, inputs.features, params.batch_size)
    found = score_candidates(eye, candidates, inputs.media)
    if not found.all:
        raise DataError("there is no picture to mine")
    splits = {"challenge": inputs.challenge, "calibration": inputs.calibration, "train": inputs.known}
    *held_out, train = (score_split(eye, part, path, inputs.media) for part, path in splits.items())
    return PoolScores(found, held_out, train, Space.of(train.looked.vectors))


def _shown(params: MineParams, looks: PoolScores, chosen: Selection) -> list[FiftyOneSample]:
    """What goes into FiftyOne: held-out pictures, what was chosen, then the hardest, and the most doubtful labels."""
    found = looks.found
    p = found.looked.probability
    first = np.isin(np.arange(len(p)), chosen.rows)
    order = np.lexsort((np.asarray(found.looked.keys), -uncertainty(p), ~first))[: params.dataset_limit]
    shown = {}
    for row in order:
        one, vector = found.all[row], found.looked.vectors[row]
        shown[one.sha256] = FiftyOneSample(
            one.sha256, CANDIDATE, one.place, one.origin, one.reason, float(p[row]), vector
        )
    for reference in (*looks.held_out, looks.train):
        doubt = np.abs(reference.looked.probability - np.asarray(reference.label))
        limit = params.dataset_limit if reference.part == "train" else len(doubt)
        for row in np.argsort(-doubt, kind="stable")[:limit]:
            key = reference.looked.keys[row]
            probability, vector = float(reference.looked.probability[row]), reference.looked.vectors[row]
            place, label = reference.place[row], reference.label[row]
            shown[key] = FiftyOneSample(key, reference.part, place, "data", reference.part, probability, vector, label)
    return list(shown.values())


def _study(params: MineParams, view: Any, space: Space) -> Findings:
    return study(
        view,
        space,
        duplicate_distance=params.duplicate_distance,
        leak_distance=params.challenge_distance,
        seed=params.seed,
    )


def _forget_media(found: ScoredCandidates, shown: Sequence[FiftyOneSample], media: Path) -> None:
    """Drop the files of candidates that FiftyOne does not show."""
    kept = {picture.sha256 for picture in shown}
    for key in found.looked.keys:
        if key not in kept:
            media_file(key, media).unlink(missing_ok=True)


def _show_again(fo: Any, params: MineParams, batch: Path, manifest: dict[str, Any], database: Path) -> None:
    """Give a complete batch its view back where it got lost, as far as the samples are there."""
    with writing(database):
        dataset = open_dataset(fo, params.dataset)
        if not has_view(dataset, batch.name, len(manifest["pictures"])):
            save_view(dataset, batch.name, list(manifest["pictures"]))


def main(arguments: list[str] | None = None) -> int:
    """Mine the pool split; bad input is one message on stderr and exit code 1."""
    argparse.ArgumentParser(prog="python -m tasks.mine", description=__doc__).parse_args(arguments)
    from tasks.mining.sources import gather

    try:
        params = load_params().mine
        pool = split_file(PULLED, "pool")
        counts = mine(
            params,
            gather(pool=pool, max_pixels=params.max_pixels, min_side=params.min_side),
            batch=MINED,
            date="",
            plot=PLOT,
        )
        write_json(REPORT, counts)
    except (ConfigError, DatabaseDown, ValueError, OSError) as error:
        print(f"mine: {error}", file=sys.stderr)
        return 1
    print(counts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
