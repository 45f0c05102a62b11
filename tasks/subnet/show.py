"""A run for people: a table that follows it, and the tables of its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from tasks.reward.change import change_words
from tasks.subnet.play import TIMEOUT, Player
from tasks.subnet.report import Report

SHOWN_ERRORS = 3


def live_table(players: Sequence[Player], steps: int) -> Table:
    """Where every miner stands after its last challenge."""
    asked = len(players[0].answers) if players else 0
    table = Table(title=f"Challenge {asked} of {steps}", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("miner", "score", "reward", "MCC 100", "acc 10", "late", "errors", "sent", "ms"):
        table.add_column(name, justify="left" if name == "miner" else "right")
    for player in players:
        table.add_row(Text(player.name), *_standing(player))
    return table


def _standing(player: Player) -> Iterator[str]:
    if not player.standings:
        yield from [""] * 8
        return
    now, sent = player.standings[-1], [answer for answer in player.answers if answer.was_sent]
    yield from (f"{value:.3f}" for value in (now.score, now.reward, now.mcc, now.accuracy))
    late = sum(answer.fault == TIMEOUT for answer in sent)
    yield from (str(late), str(sum(bool(answer.fault) for answer in sent) - late), str(len(sent)))
    yield f"{1000 * sent[-1].seconds:.0f}" if sent else ""


def report_tables(report: Report) -> list[Table]:
    """The figures of every miner, a column each, and those by level and source."""
    document = report.document
    return [_whole(document), _parts(document, "level"), _parts(document, "source")]


def report_lines(report: Report) -> Iterator[str]:
    """Sentences below the tables: what was sent, how miners stand to each other, and errors."""
    document = report.document
    yield (
        f"{document['challenges']} challenges of {document['views']} different views from {document['places']} places, "
        f"seed {document['seed']}. Intervals of {document['confidence']:.0%}."
    )
    for name, found in document["timings"].items():
        kept = f"; {found['kept']} answers to the same bytes were kept" if found["kept"] else ""
        yield f"{name}: {found['requests']} requests were sent{kept}."
    for pair in document["pairs"]:
        yield _pair_line(pair, document)
    for name, miner in document["miners"].items():
        for error, count in list(miner["errors"].items())[:SHOWN_ERRORS]:
            yield f"{name}: {count} times {error}"


def _whole(document: dict[str, Any]) -> Table:
    table = Table("", title="Miners", title_justify="left")
    miners, timings = document["miners"], document["timings"]
    for name in miners:
        table.add_column(Text(name), justify="right")
    rows = {
        "reward a challenge, this run": "reward",
        "score at the end, this run": "score",
        "expected reward": "expected_reward",
        "MCC": "mcc",
        "accuracy": "accuracy",
    }
    for words, key in rows.items():
        table.add_row(words, *(_figure(miner[key]) for miner in miners.values()))
    table.add_row("timeouts", *(str(miner["timeouts"]) for miner in miners.values()))
    table.add_row("errors", *(str(sum(miner["errors"].values())) for miner in miners.values()))
    table.add_row("ms, p50 / p95 / p99", *(_latency(one) for one in timings.values()))
    table.add_row("score is stable after", *(_stable(miner["stable"]) for miner in miners.values()))
    return table


def _parts(document: dict[str, Any], key: str) -> Table:
    table = Table(key, "challenges", title=f"MCC / accuracy by {key}", title_justify="left")
    miners = document["miners"]
    for name in miners:
        table.add_column(Text(name), justify="right")
    for value, first in next(iter(miners.values()))[key].items():
        cells = (miner[key][value] for miner in miners.values())
        table.add_row(value, str(first["challenges"]), *(_part(cell) for cell in cells))
    return table


def _part(cell: dict[str, Any]) -> str:
    return "" if cell["mcc"] is None else f"{cell['mcc']:.3f} / {cell['accuracy']:.3f}"


def _pair_line(pair: dict[str, Any], document: dict[str, Any]) -> str:
    one, other = pair["miners"]
    change, timings = pair["expected_reward"], document["timings"]
    words = f"{one} ends above {other} with probability {pair['ends_above']:.2f}"
    if change["value"] is None:
        return f"{words}."
    slower = None
    if timings[one]["p50_ms"] is not None and timings[other]["p50_ms"] is not None:
        slower = timings[one]["p50_ms"] - timings[other]["p50_ms"]
    added = change_words(change["value"], (change["low"], change["high"]), document["confidence"], slower)
    return f"{words}; beside it, it is worth {added}."


def _figure(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return "not defined"
    ends = "" if found["low"] is None else f" ({found['low']:.3f} to {found['high']:.3f})"
    return f"{found['value']:.3f}{ends}"


def _latency(found: dict[str, Any]) -> str:
    values = [found[key] for key in ("p50_ms", "p95_ms", "p99_ms")]
    return "" if None in values else " / ".join(f"{value:.0f}" for value in values)


def _stable(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not in this run"
    low, high = found["hours"]
    return f"{found['challenges']} challenges, {low:.0f} to {high:.0f} h"
