"""A labelled folder held against a release by the engine of section `scale`, in the batches of a local evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

from tqdm import tqdm

from cascade.config import RuntimeParams
from cascade.decoding.pool import Decoders
from cascade.evaluate.folder import (
    EvaluationReport,
    LabelledImage,
    ScoredImage,
    Skipped,
    batches,
    read_folder,
    score_batch,
    summarise,
)
from cascade.local.session import find_release, open_cascade
from cascade.release.store import CropSettings
from tasks.config.scale import ScaleParams
from tasks.scale.engine import run_items

Scores = tuple[list[ScoredImage], list[Skipped]]


class FolderScorer:
    """A worker: the cascade of a release, or one stage of it, over batches of labelled files.

    Args:
        release: its folder.
        params: the runtime's sections.
        stage: the one that runs alone, if any.
        crops: in place of the release's own.
    """

    def __init__(self, release: Path, params: RuntimeParams, stage: str | None, crops: CropSettings | None) -> None:
        self._release, self._params, self._stage, self._crops = release, params, stage, crops
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            opened = open_cascade(self._release, self._params, stage=self._stage, crops=self._crops)
            self._cascade = stack.enter_context(opened)
            self._decoders = stack.enter_context(Decoders(pictures=1))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __call__(self, batch: Sequence[LabelledImage]) -> Iterator[Scores]:
        """Predict the files of a batch; gives the predictions, and why others could not be read."""
        yield score_batch(self._cascade, batch, self._params.serve, self._decoders)


def evaluate_folder(
    folder: Path,
    params: RuntimeParams,
    scale: ScaleParams,
    release: Path | None = None,
    *,
    stage: str | None = None,
    crops: CropSettings | None = None,
    prior: float | None,
) -> EvaluationReport:
    """Score a release on a labelled folder; only times depend on the engine.

    Args:
        folder: see `cascade.evaluate.folder.read_folder`; of a cluster all nodes see it under this path.
        params: the runtime's sections.
        scale: section `scale`.
        release: folder; None for the champion.
        stage: the one that runs alone, if any.
        crops: in place of the release's own.
        prior: share of roadwork that the figures are for; None for that of the images.

    Raises:
        FolderError: there is no labelled image that can be read.
        ReleaseError: it does not verify.
        ScaleError: the cluster cannot be used.
    """
    skipped: list[Skipped] = []
    samples = read_folder(folder.absolute(), skipped)
    opened = find_release(release)
    make = partial(FolderScorer, opened.folder.resolve(), params, stage, crops)
    scored: list[ScoredImage] = []
    with tqdm(total=len(samples), unit="img", disable=None) as bar:
        for good, bad in run_items(scale, make, list(batches(samples))):
            scored += good
            skipped += bad
            bar.update(len(good) + len(bad))
    return summarise(scored, skipped, opened.id, prior=prior)
