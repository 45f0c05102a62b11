"""Reading DVC's outputs while no stage writes them: the read locks that DVC's own stages take."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows.dvc.errors import PipelineError
from flows.dvc.locks import LIMIT_SECONDS, PAUSE_SECONDS, REPEAT_SECONDS
from flows.dvc.rwlock import Say, drop_dead


@contextmanager
def reading(root: Path, paths: Sequence[Path], say: Say) -> Iterator[None]:
    """Hold DVC's read locks on paths: a stage that would write one of them waits, and we wait for one that does.

    Args:
        root: folder of the DVC repository; one without `.dvc` has no stages that could run.
        paths: files or folders, relative to `root`.
        say: gets one line at once and every minute while a stage writes.

    Raises:
        PipelineError: a stage wrote one of them for an hour, or DVC's lock file is damaged.
    """
    with ExitStack() as held:
        if (root / ".dvc").is_dir():
            _enter(held, root, [str((root / path).resolve()) for path in paths], say)
        yield


def _enter(held: ExitStack, root: Path, paths: list[str], say: Say) -> None:
    from dvc.fs import LocalFileSystem
    from dvc.lock import LockError
    from dvc.rwlock import rwlock

    folder = root.resolve() / ".dvc" / "tmp"
    folder.mkdir(exist_ok=True)
    deadline, next_line = time.monotonic() + LIMIT_SECONDS, 0.0
    while True:
        drop_dead(root, say)
        try:
            # `flows.dvc.rwlock` knows a holder by its command line
            held.enter_context(rwlock(str(folder), LocalFileSystem(), " ".join(sys.argv), paths, [], False))
            return
        except LockError as error:
            now = time.monotonic()
            if now > deadline:
                raise PipelineError(f"{error}; waited {LIMIT_SECONDS / 60:.0f} min") from None
            if now >= next_line:
                say(f"waiting for a stage that writes what the release is built of: {str(error).splitlines()[0]}")
                next_line = now + REPEAT_SECONDS
        time.sleep(PAUSE_SECONDS)
