"""Looking at a release that has just begun to answer: errors, time, agreement. It sends requests of its own too.

What clients see is read from nginx's access log, which holds port, status and seconds of each request and no content.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cascade.api.process import ServiceState
from tasks.config.promotion import WatchParams
from tasks.release.smoke_test import GoldenImage, SmokeResult, SmokeTestError, smoke_test

PAUSE_SECONDS = 0.2
TIMEOUT_SECONDS = 30.0
# statuses of a service; with 503 it says that it has more to do than it can, as any release may
FAILED = (500, 502, 504)


class WatchError(RuntimeError):
    """The new release answers worse than params.yaml allows, or there was nothing to judge it by."""


@dataclass
class Seen:
    """What was seen of one release's requests."""

    requests: int = 0
    errors: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, seconds: float, *, failed: bool) -> None:
        """Count one request."""
        self.requests += 1
        self.errors += failed
        self.seconds.append(seconds)

    @property
    def p95(self) -> float:
        """95th percentile of the seconds; 0 where nothing was seen."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else 0.0

    def __str__(self) -> str:
        return f"{self.requests} requests, {self.errors} failed, 95th percentile {self.p95:.3f} s"


def compare_golden(
    url: str, old_url: str | None, release: str, images: Sequence[GoldenImage], params: WatchParams
) -> float | None:
    """Send the golden images to a service, and to the old one; give the share of equal labels.

    Raises:
        WatchError: an answer of another release, no probability, or labels that agree too rarely.
        SmokeTestError: it does not answer.
    """
    answers = smoke_test(url, list(images))
    if wrong := [one for one in answers if one.release != release or not 0 <= one.probability <= 1]:
        raise WatchError(f"{url}: an answer that release {release} must not give: {wrong[0]}")
    if old_url is None:
        return None
    old: list[SmokeResult] = smoke_test(old_url, list(images))
    agreement = sum(one.label == other.label for one, other in zip(answers, old, strict=True)) / len(answers)
    if agreement < params.min_agreement:
        raise WatchError(
            f"release {release} agrees with the old one on {agreement:.0%} of {len(answers)} golden images, and "
            f"promotion.watch.min_agreement is {params.min_agreement:.0%}"
        )
    return agreement


class AccessLog:
    """The lines of nginx's access log that were written since this object was made."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._offset = path.stat().st_size if path and path.is_file() else 0

    def lines(self) -> Iterator[tuple[int, int, float]]:
        """Port of the service that answered, status, seconds; only what is new since the last call."""
        if self._path is None or not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                with suppress(ValueError, KeyError, IndexError):
                    yield _parsed(line)


def _parsed(line: bytes) -> tuple[int, int, float]:
    entry = json.loads(line)
    # where nginx asked several, the last one answered
    port, status = entry["upstream"].split(", ")[-1].rpartition(":")[2], entry["status"].split(", ")[-1]
    return int(port), int(status), float(entry["seconds"])


def watch(
    url: str,
    services: Sequence[ServiceState],
    images: Sequence[GoldenImage],
    params: WatchParams,
    *,
    seconds: float,
    log: Path | None = None,
    ratio: float | None = None,
) -> dict[str, Seen]:
    """Look at services for some seconds and give what was seen, by release.

    Args:
        url: where clients reach them.
        services: the new one first; further ones may answer too.
        images: sent one after the other, so that there is always something to see.
        params: the limits, which hold for the new one.
        seconds: to look.
        log: nginx's access log.
        ratio: of the new one's 95th percentile to the old one's, at most; None: not compared.

    Raises:
        WatchError: a limit is passed; at once where it is that of errors.
    """
    new, reader = services[0], AccessLog(log)
    seen = {one.release: Seen() for one in services}
    by_port = {one.port: one.release for one in services}
    deadline, turn = time.monotonic() + seconds, 0
    while time.monotonic() < deadline or turn < params.min_requests:
        _probe(url, images[turn % len(images)], new, seen, count=log is None)
        turn += 1
        time.sleep(PAUSE_SECONDS)
        for port, status, took in reader.lines():
            if port in by_port:
                seen[by_port[port]].add(took, failed=status in FAILED)
        _check_errors(new, seen[new.release], params)
    _check_all(new, seen, params, ratio)
    return seen


def _probe(url: str, image: GoldenImage, new: ServiceState, seen: dict[str, Seen], *, count: bool) -> None:
    """Send one image. Where there is a log, it has the request too, and only what it cannot have is counted here."""
    start, failed, release = time.monotonic(), False, new.release
    try:
        release = smoke_test(url, [image], TIMEOUT_SECONDS)[0].release
    except SmokeTestError:
        failed = True
    if release not in seen:
        raise WatchError(f"{url}: an answer of release {release}, which is not live")
    if count or failed:
        seen[release].add(time.monotonic() - start, failed=failed)
    if new.process() is None:
        raise WatchError(f"the service of release {new.release} has ended")


def _check_errors(new: ServiceState, seen: Seen, params: WatchParams) -> None:
    if seen.errors > params.max_error_rate * max(seen.requests, params.min_requests):
        raise WatchError(f"release {new.release}: {seen}; promotion.watch.max_error_rate is {params.max_error_rate:g}")


def _check_all(new: ServiceState, seen: dict[str, Seen], params: WatchParams, ratio: float | None) -> None:
    mine = seen[new.release]
    if mine.requests < params.min_requests and ratio is None:
        raise WatchError(f"release {new.release}: {mine}; that proves nothing (promotion.watch.min_requests)")
    if mine.p95 > params.max_p95_seconds:
        raise WatchError(
            f"release {new.release}: {mine}; promotion.watch.max_p95_seconds is {params.max_p95_seconds:g}"
        )
    others = [one for name, one in seen.items() if name != new.release and one.requests >= params.min_requests]
    enough = mine.requests >= params.min_requests
    if ratio is not None and enough and others and mine.p95 > ratio * others[0].p95:
        raise WatchError(f"release {new.release}: {mine}; the old one: {others[0]}; more than {ratio:g} times as slow")


def shadow_report(cache: Path | None, new: str, old: str, params: WatchParams) -> str:
    """Compare what two releases answered for the same pictures, by the service's cache of answers.

    Raises:
        WatchError: their labels agree too rarely.
    """
    from cascade.api.cache import DATABASE

    if cache is None or not (cache / DATABASE).is_file():
        return "cache.folder is null: answers cannot be compared, errors and time can"
    try:
        pairs = list(label_pairs(cache / DATABASE, new, old))
    except sqlite3.Error as error:
        return f"{cache / DATABASE}: {error}: answers cannot be compared, errors and time can"
    if not pairs:
        return "no picture was answered by both releases"
    differ = [digest for digest, (mine, theirs) in pairs if mine != theirs]
    agreement = 1 - len(differ) / len(pairs)
    text = f"{len(pairs)} pictures, {agreement:.1%} with the same label; others: {', '.join(differ[:5]) or 'none'}"
    if len(pairs) >= params.min_requests and agreement < params.min_agreement:
        raise WatchError(f"shadow: {text}; promotion.watch.min_agreement is {params.min_agreement:.0%}")
    return text


def label_pairs(database: Path, new: str, old: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Digest of a picture with both labels; keys are `release/digest`, values JSON text (cascade/api/cache.py).

    Raises:
        sqlite3.Error: the database is damaged, locked, or has no answers yet.
    """
    query = (
        "SELECT substr(a.key, instr(a.key, '/') + 1), a.value, b.value FROM Cache a JOIN Cache b ON "
        "substr(a.key, instr(a.key, '/')) = substr(b.key, instr(b.key, '/')) WHERE a.key LIKE ? AND b.key LIKE ?"
    )
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5.0)) as connection:
        for digest, mine, theirs in connection.execute(query, (f"{new}/%", f"{old}/%")):
            with suppress(ValueError, KeyError, TypeError):
                yield digest, (json.loads(mine)["label"], json.loads(theirs)["label"])
