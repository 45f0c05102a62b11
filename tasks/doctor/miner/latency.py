"""How far the last day's answers stayed from the time-out: from the service's log, else from its metrics."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from cascade.api.process import SERVICES, ServiceState, status
from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import Context, check

TIMEOUT_SECONDS = 9.0  # of v0.2.4's validator; on the way there and back some of it is lost
NETWORK_SECONDS = 1.0
FEW = 20
LINES = 200_000  # of the log's end
PREDICT = "/v1/predict"
DAY = timedelta(days=1)
HISTOGRAM = "streetvision_request_duration_seconds_bucket"


@check("time-out margin", needs_params=True)
def margin(context: Context) -> Iterator[Finding]:
    """The 99th percentile against the time-out less the network's part."""
    live = status()
    if live is None:
        yield not_asked("no service runs, so that no answer was timed", "`streetvision up`")
        return
    log = SERVICES / f"{live.release}.log"
    seconds = recent_seconds(_tail(log), datetime.now(UTC)) if log.is_file() else []
    if len(seconds) >= FEW:
        yield judge_latency(percentile(seconds, 0.99), max(seconds), f"{len(seconds)} answers of the last day")
        return
    yield _from_metrics(live, len(seconds))


def judge_latency(p99: float, longest: float, source: str) -> Finding:
    """Hold seconds against the limit; `longest` may be infinite where a histogram does not say."""
    allowed = TIMEOUT_SECONDS - NETWORK_SECONDS
    at_most = f", {longest:.2f} s at most" if math.isfinite(longest) else ""
    shown = f"{p99:.2f} s" if math.isfinite(p99) else f"above {TIMEOUT_SECONDS:g} s"
    words = f"p99 {shown}{at_most}, of {TIMEOUT_SECONDS:g} s with {NETWORK_SECONDS:g} s for the network ({source})"
    remedy = (
        "serve.stages: light, a lower serve.deadline_seconds, or a faster engine (docs/engines.md, docs/tensorrt.md)"
    )
    if p99 > allowed:
        return error(words, remedy)
    if p99 > allowed / 2 or math.inf > longest > allowed:
        return warning(words, remedy)
    return ok(words)


def recent_seconds(lines: Iterable[str], now: datetime) -> list[float]:
    """Seconds of each prediction that was answered within the last day, from lines of the service's log in JSON."""
    found = []
    for line in lines:
        # most lines are of others, and parsing costs more than looking
        if PREDICT not in line:
            continue
        try:
            entry = json.loads(line)
            if (
                entry["path"] == PREDICT
                and entry["status"] == 200
                and now - datetime.fromisoformat(entry["time"]) < DAY
            ):
                found.append(float(entry["milliseconds"]) / 1000)
        except (ValueError, KeyError, TypeError):
            continue
    return found


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of all values do not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def histogram_p99(text: str) -> tuple[float, int] | None:
    """Upper edge of the bucket with the 99th percentile, and the number of answers; None where there are too few."""
    from prometheus_client.parser import text_string_to_metric_families

    samples = [
        one for family in text_string_to_metric_families(text) for one in family.samples if one.name == HISTOGRAM
    ]
    buckets: dict[float, float] = {}
    for one in samples:
        edge = float(one.labels["le"])
        buckets[edge] = buckets.get(edge, 0) + one.value
    total = buckets.get(math.inf, 0)
    if total < FEW:
        return None
    return next(edge for edge in sorted(buckets) if buckets[edge] >= 0.99 * total), int(total)


def _from_metrics(live: ServiceState, logged: int) -> Finding:
    too_few = not_asked(
        f"{logged} answers in the last day; {FEW} are needed", "`streetvision simulate` asks the service"
    )
    try:
        answer = httpx.get(f"{live.address}/metrics", timeout=3, trust_env=False)
    except httpx.HTTPError as failure:
        return not_asked(
            f"the service's metrics do not answer ({type(failure).__name__})", "the check `service` of the doctor"
        )
    if answer.status_code != 200:
        return not_asked(
            f"/metrics answers {answer.status_code}: the service has a key",
            "its log has the last day, with serve.log: json",
        )
    found = histogram_p99(answer.text)
    if found is None:
        return too_few
    return judge_latency(found[0], math.inf, f"{found[1]} answers since the service's start; p99 is a bucket's edge")


def _tail(log: Path) -> Iterator[str]:
    with log.open(encoding="utf-8", errors="replace") as file:
        yield from deque(file, LINES)
