"""The report in words: one sentence, and the Markdown that a run's page shows."""

from __future__ import annotations

from tasks.release.gate.report import EXPECTED, Comparison, Figure, GateReport
from tasks.reward.change import change_words

NAMED = 3  # faults in the sentence
NAMES = {
    "mcc": "MCC",
    "accuracy": "accuracy",
    "reward": "reward",
    "recall": "recall",
    EXPECTED: "expected reward",
}


def sentence(report: GateReport, note: str = "") -> str:
    """Say in one sentence what the gate found and why."""
    if report.faults:
        named = [f"{one.check}: {one.text}" for one in report.faults[:NAMED]]
        more = [f"{len(report.faults) - NAMED} more"] if len(report.faults) > NAMED else []
        return "; ".join([*named, *more])
    if report.verdict == "first":
        return "nothing serves yet, and its report reaches the floors"
    if note and report.verdict != "inconclusive":
        return f"no worse than champion {report.champion}: {note}"
    return _compared(report, note)


def _compared(report: GateReport, note: str) -> str:
    changes = ", ".join(_change(one) for one in report.comparisons if one.margin is not None)
    figures = note or "; ".join(filter(None, (changes, reward_change(report))))
    if report.verdict == "inconclusive":
        end = "; promoted by a person: " + str(report.override) if report.passes else _remedy(report)
        return f"inconclusive against champion {report.champion}: {figures}{end}"
    word = report.verdict.replace("_", " ")
    return f"{word} than champion {report.champion}: {figures}"


def reward_change(report: GateReport) -> str:
    """What the challenger is worth beside the champion, in words; empty where nothing was compared."""
    one = report.comparison(EXPECTED)
    change = one.difference if one else None
    if change is None or change.value is None or change.low is None or change.high is None:
        return ""
    slower = next((cost.challenger - cost.champion for cost in report.costs if cost.name == "latency"), None)
    return f"worth {change_words(change.value, (change.low, change.high), report.confidence, slower)}"


def _remedy(report: GateReport) -> str:
    if report.override and report.scheduled:
        return "; an override does not count in a scheduled run"
    return "; a person may promote it with a reason"


def _change(one: Comparison) -> str:
    return f"{NAMES[one.name]} {signed(one.difference)} (margin {one.margin})"


def plain(figure: Figure) -> str:
    """A figure with its interval."""
    if figure.value is None:
        return "not defined"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4f}"
    return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"


def signed(figure: Figure) -> str:
    """A difference with its interval."""
    if figure.value is None:
        return "not defined"
    if figure.low is None or figure.high is None:
        return f"{figure.value:+.4f}"
    return f"{figure.value:+.4f} ({figure.low:+.4f} to {figure.high:+.4f})"


def to_markdown(report: GateReport) -> str:
    """Give the report as Markdown: the verdict, the faults, and the figures of both releases."""
    lines = [f"# Gate: release {report.challenger}", "", f"**{title(report)}**: {report.reason}", ""]
    if report.faults:
        lines += ["| check | what is not kept |", "|---|---|"]
        lines += [f"| {one.check} | {_cell(one.text)} |" for one in report.faults] + [""]
    if report.comparisons:
        lines += [
            f"{report.views} views of {report.places} places, intervals of {report.confidence:.0%}.",
            "",
            "| | challenger | champion | difference | margin | detectable |",
            "|---|---|---|---|---|---|",
            *[_row(one) for one in report.comparisons],
            "",
            *([f"- {words}"] if (words := reward_change(report)) else []),
        ]
    for one in report.costs:
        lines.append(
            f"- {one.name}: {one.challenger:.1f} {one.unit} against {one.champion:.1f}, at most {one.limit:.1f}"
        )
    gained = sum(one.gained for one in report.changes)
    lines.append(f"- views with another answer: {gained} now right, {len(report.changes) - gained} now wrong")
    return "\n".join(lines) + "\n"


def title(report: GateReport) -> str:
    """Verdict and outcome in a few words."""
    word = {"no_worse": "no worse", "first": "first release"}.get(report.verdict, report.verdict)
    return f"{word}, {'may be promoted' if report.passes else 'refused'}"


def _row(one: Comparison) -> str:
    cells = [
        NAMES[one.name],
        plain(one.challenger),
        plain(one.champion),
        signed(one.difference),
        "" if one.margin is None else f"{one.margin}",
        "" if one.detectable is None else f"{one.detectable:.4f}",
    ]
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
