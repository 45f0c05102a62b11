"""What nobody needs any more: old releases, and files of private caches that are computed again.

Never the live release, one that runs, the one that a rollback goes to, or the newest ones of the ledger; and nothing
that cannot be made again: no inbox, no batch of hard cases, no ledger, no report of the gate.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cascade.api.process import running
from cascade.release.store import CHAMPION, RELEASES
from tasks.config.retention import RetentionParams
from tasks.release import ledger
from tasks.release.ledger import Promotion
from tasks.release.promotion import journal

DAY_SECONDS = 86_400.0
# each entry of these folders is made again by the step that reads it, or is only read by a person
CACHES = tuple(
    Path("var") / name for name in ("adapt", "detect", "features", "stage_predictions", "synthetic", "render")
)
LOGS = Path("var/services")
Say = Callable[[str], object]


@dataclass(frozen=True)
class Unneeded:
    """A file or folder that can go.

    Attributes:
        path: from the project's root.
        bytes: on the disk, links not followed.
        why: for people.
    """

    path: Path
    bytes: int
    why: str


def find_unneeded(rules: RetentionParams, now: float | None = None) -> list[Unneeded]:
    """Find what can go, in the current folder; call it under promotions' lock, so that no release becomes live."""
    before = (time.time() if now is None else now) - rules.days * DAY_SECONDS
    return [*_releases(rules, before), *_cached(rules, before), *_logs(rules, before)]


def remove(found: list[Unneeded], say: Say) -> int:
    """Remove what was found and give the bytes; what cannot be removed is said and stays."""
    freed = 0
    for one in found:
        try:
            if one.path.is_dir():
                # renamed first, so that half a release is never taken for one
                gone = one.path.with_name(f".{one.path.name}.removed")
                one.path.rename(gone)
                shutil.rmtree(gone)
            else:
                one.path.unlink()
        except OSError as error:
            say(f"{one.path} stays: {error}")
            continue
        freed += one.bytes
        say(f"removed {one.path}: {one.why}")
    return freed


def needed_releases(lines: list[Promotion], count: int) -> set[str]:
    """Releases that the ledger still needs: the newest `count` different ones, and the target of a rollback."""
    newest = list(dict.fromkeys(line.release for line in reversed(lines)))[:count]
    target = ledger.rollback_target(lines)
    return {*newest, *([target] if target else [])}


def _releases(rules: RetentionParams, before: float) -> Iterator[Unneeded]:
    kept = needed_releases(ledger.read(), rules.releases) | {one.release for one in running()}
    champion = RELEASES / CHAMPION
    kept |= {champion.resolve().name} if champion.is_symlink() else set()
    if intent := journal.unfinished():
        kept |= {intent.new, *([intent.old] if intent.old else [])}
    for folder in sorted(RELEASES.glob("[!.]*/")):
        if not folder.is_symlink() and folder.name not in kept and folder.stat().st_mtime < before:
            yield Unneeded(folder, _size(folder), f"older than {rules.days:g} days, and not among the newest releases")


def _cached(rules: RetentionParams, before: float) -> Iterator[Unneeded]:
    for cache in CACHES:
        for entry in sorted(cache.glob("*")) if cache.is_dir() else ():
            if _newest(entry) < before:
                yield Unneeded(
                    entry, _size(entry), f"not written for {rules.days:g} days; made again where it is needed"
                )


def _logs(rules: RetentionParams, before: float) -> Iterator[Unneeded]:
    alive = {one.release for one in running()}
    for log in sorted(LOGS.glob("*.log")):
        if log.name.partition(".")[0] not in alive and log.stat().st_mtime < before:
            yield Unneeded(log, _size(log), f"log of a service that ended more than {rules.days:g} days ago")


def _files(path: Path) -> list[Path]:
    return [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in _files(path) if not file.is_dir())


def _newest(path: Path) -> float:
    return max(file.lstat().st_mtime for file in _files(path))
