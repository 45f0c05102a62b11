"""A release opened for one command: loaded on demand and without time limits, since a person waits for the answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cascade.config import RuntimeParams
from cascade.core.cascade import Cascade
from cascade.core.measured_sizes import SIZES
from cascade.release.store import RELEASES, CropSettings, Release, ReleaseError, champion, load_release

# a stage alone may give no estimate; the prior of the subnet's validators is then the fair one
PRIOR = 0.5


def find_release(folder: Path | None, releases: Path = RELEASES) -> Release:
    """Open a release folder, or the champion where none is given.

    Raises:
        ReleaseError: it does not verify, or there is no champion yet.
    """
    release = load_release(folder) if folder else champion(releases)
    if release is None:
        raise ReleaseError(f"{releases}: no champion yet; `make run` trains and promotes one, or give --release")
    return release


@contextmanager
def open_cascade(
    folder: Path | None, params: RuntimeParams, *, stage: str | None = None, crops: CropSettings | None = None
) -> Iterator[Cascade]:
    """Open the whole cascade of a release, or one stage alone.

    Args:
        folder: of the release; None for the champion.
        params: limits of memory.
        stage: the name of the one that runs alone, switched on or not.
        crops: in place of the release's own.

    Raises:
        ReleaseError: it does not verify, or has no such stage.
        MemoryLimitError: a stage can never fit.
        EngineError: stage 1 is unusable.
    """
    release = find_release(folder)
    cascade = Cascade(
        release,
        params.memory,
        params.timeouts,
        only=None if stage is None else {stage},
        enforce_timeouts=False,
        sizes=SIZES,
        settings=release.settings.model_copy(update={"crops": crops} if crops else {}),
        fallback=None if stage is None else PRIOR,
        spare=RELEASES.parent,
    )
    with cascade.load(ahead=False):
        yield cascade
