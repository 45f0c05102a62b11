"""Mining: from many unlabelled pictures to the few to label, as a batch and in FiftyOne."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import MineParams
from tasks.config.scale import SelectionParams
from tasks.data.batches import finished_batch
from tasks.data.feature_store import FEATURES
from tasks.data.pull import PULLED
from tasks.data.schema import DataError, split_file
from tasks.mining import batch as batches
from tasks.mining import report
from tasks.mining.brain import Findings, study
from tasks.mining.candidates import PoolScores, choose_candidates
from tasks.mining.coresets import Spread, in_turn
from tasks.mining.database import DATABASE, connect
from tasks.mining.dataset import chosen_from, has_view, open_dataset, put, save_view
from tasks.mining.media import MEDIA, media_file
from tasks.mining.pictures import draw_map
from tasks.mining.samples import FiftyOneSample
from tasks.mining.scorer import ProbeScorer
from tasks.mining.scoring import ScoredCandidates, score_candidates, score_split
from tasks.mining.shown import shown_samples
from tasks.mining.space import Space
from tasks.mining.writer import writing

if TYPE_CHECKING:
    from tasks.mining.sources import Candidate

BACKBONE, PROBE = Path("models/adapted"), Path("models/probe")
CHALLENGE, CALIBRATION, TRAIN = (split_file(PULLED, split) for split in ("challenge", "calibration", "train"))


@dataclass(frozen=True)
class MiningInputs:
    """What candidates are scored with, what they are compared with, and where they are shown.

    Attributes:
        backbone: models/adapted.
        head: models/probe or models/head.
        challenge: parquet file of the challenge split: nothing near it is chosen.
        calibration: the same for the calibration split.
        known: parquet file of the training split: copies of it are dropped, and its labels are doubted.
        features: data/features, where splits may be embedded already.
        database: folder of our own MongoDB.
        mongodb: address of an external one, which is used instead.
        media: where FiftyOne finds the files.
    """

    backbone: Path = BACKBONE
    head: Path = PROBE
    challenge: Path = CHALLENGE
    calibration: Path = CALIBRATION
    known: Path = TRAIN
    features: Path | None = FEATURES
    database: Path = DATABASE
    mongodb: str | None = None
    media: Path = MEDIA


@dataclass(frozen=True)
class MiningEngine:
    """What mining runs on.

    Attributes:
        scorer: makes what scores pictures, in this process or elsewhere.
        selection: `scale.selection`, how to select from more pictures than fit in memory.
        spread: works on the shards of a selection, in this process or elsewhere.
    """

    scorer: Callable[[Path, Path, Path | None, int], ProbeScorer] = ProbeScorer
    selection: SelectionParams = field(default_factory=SelectionParams)
    spread: Spread = in_turn


def mine(
    params: MineParams,
    candidates: Iterable[Candidate],
    *,
    batch: Path,
    date: str,
    inputs: MiningInputs | None = None,
    plot: Path | None = None,
    engine: MiningEngine | None = None,
) -> dict[str, Any]:
    """Choose what to label, write the batch, and show all of it in FiftyOne.

    Args:
        params: section `mine`.
        candidates: pictures that decode; the bytes of one at a time are held.
        batch: the batch's folder; a finished one is left as it is.
        date: day of the batch, or "" for the pipeline's own.
        inputs: everything else that is read.
        plot: PNG of the embeddings, if wanted.
        engine: what the work runs on (`tasks.scale.mine.mining_on`); by default this process.

    Returns:
        Counts; of a finished batch those of its manifest.

    Raises:
        DatabaseDown: FiftyOne's database does not answer; no batch is written then.
        DataError: a file is missing, a finished batch was changed, or there is no candidate.
    """
    inputs, engine = inputs or MiningInputs(), engine or MiningEngine()
    finished = finished_batch(batch)
    fo = connect(inputs.database, inputs.mongodb)
    if finished is not None:
        _restore_view(fo, params, batch, finished, inputs.database)
        return dict(finished["counts"])
    scorer = engine.scorer(inputs.backbone, inputs.head, inputs.features, params.batch_size)
    scores = _score(candidates, inputs, scorer, inputs.media if engine.selection.vectors == "disk" else None)
    chosen, refused = choose_candidates(params, scores, engine.selection, engine.spread)
    keys = [scores.found.scores.keys[row] for row in chosen.rows]
    samples = shown_samples(params, scores, chosen)
    with writing(inputs.database):
        findings = _show(fo, params, batch, samples, keys, scores.space, inputs.media)
        counts = report.counts(params, scores.found, chosen, refused, findings)
        pictures = report.pictures(scores.found, chosen, scores.train, scores.space, findings, inputs.media)
        batches.write(batch, pictures, report.manifest(params, date, counts, findings))
    if plot is not None:
        draw_map(findings.points, findings.parts, np.isin(findings.keys, keys), plot)
    _remove_media(scores.found, samples, inputs.media)
    return counts


def _score(candidates: Iterable[Candidate], inputs: MiningInputs, scorer: ProbeScorer, disk: Path | None) -> PoolScores:
    found = score_candidates(scorer, candidates, inputs.media, disk)
    if not found.all:
        raise DataError("there is no picture to mine")
    splits = {"challenge": inputs.challenge, "calibration": inputs.calibration, "train": inputs.known}
    *held_out, train = (score_split(scorer, part, path, inputs.media) for part, path in splits.items())
    return PoolScores(found, held_out, train, Space.of(train.scores.vectors[:]))


def _show(
    fo: Any,
    params: MineParams,
    batch: Path,
    samples: Sequence[FiftyOneSample],
    keys: Sequence[str],
    space: Space,
    media: Path,
) -> Findings:
    """Bring the dataset up to date, run the Brain over it, and save the view of the batch."""
    dataset = open_dataset(fo, params.dataset)
    put(fo, dataset, samples, media)
    findings = study(
        chosen_from(dataset, [sample.sha256 for sample in samples]),
        space,
        duplicate_distance=params.duplicate_distance,
        leak_distance=params.challenge_distance,
        seed=params.seed,
    )
    save_view(dataset, batch.name, keys)
    return findings


def _remove_media(found: ScoredCandidates, samples: Sequence[FiftyOneSample], media: Path) -> None:
    """Remove the files of candidates that FiftyOne does not show."""
    kept = {sample.sha256 for sample in samples}
    for key in found.scores.keys:
        if key not in kept:
            media_file(key, media).unlink(missing_ok=True)


def _restore_view(fo: Any, params: MineParams, batch: Path, manifest: dict[str, Any], database: Path) -> None:
    """Save the view of a finished batch again where it is gone, with the samples that are there."""
    with writing(database):
        dataset = open_dataset(fo, params.dataset)
        if not has_view(dataset, batch.name, len(manifest["pictures"])):
            save_view(dataset, batch.name, list(manifest["pictures"]))
