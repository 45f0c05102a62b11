"""The table of the stages, as a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

from cascade.evaluate.prior import describe_prior
from tasks.common.markdown import replace_between
from tasks.selection.by_source import source_table
from tasks.selection.stage_value import value_sentence

TITLE = "# What each stage adds"
BEGIN, END = "<!-- table: written by `python -m tasks.select_stages --doc` -->", "<!-- end of table -->"
WIDTH = 120  # characters
HEAD = (
    "| | on | alone on | MCC alone | accuracy alone | MCC without | net flips | leave here | wrong there (bound) | "
    "ms alone, mean (p99) |\n|---|---|---|---|---|---|---|---|---|---|"
)


def write_doc(table: dict[str, Any], path: Path) -> None:
    """Put the table between its marks in a page; the rest of the page stays.

    Args:
        table: `reports/select_stages/stages.json`.
        path: a Markdown file with both marks.

    Raises:
        ValueError: the page has no marks.
    """
    replace_between(path, BEGIN, END, table_page(table))


def table_page(table: dict[str, Any]) -> str:
    """The table, the sentence above it and those below it, as Markdown; sentences are wrapped, rows are not."""
    return "\n".join(line if line.startswith("|") else fill(line, WIDTH) for line in _lines(table))


def _lines(table: dict[str, Any]) -> Iterator[str]:
    metrics, costs = table["metrics"], table["cost"]
    whole = metrics["cascade"]
    yield (
        f"{metrics['images']} views of the challenge set, each picture at one of the four levels. The vlm and the ocr "
        "run where the classifier is undecided, and on the first few views for their figures alone; the cascade "
        "without the classifier is known for those only."
    )
    yield ""
    yield HEAD
    for name, row in metrics["stage"].items():
        yield _row(name, row, costs[f"alone: {name}"])
    spent, full = costs["cascade"], costs["every_stage_on_every_image_ms"]
    yield (
        f"| **cascade** | | {whole['n']:.0f} | **{whole['mcc']:.3f}** | {whole['accuracy']:.3f} | | | "
        f"{1 - whole['undecided']:.0%} | | "
        f"{spent['mean_ms']:.0f} ({spent['p99_ms']:.0f}) |"
    )
    yield ""
    constant = metrics["constant"]
    yield (
        f"Figures are for {describe_prior(metrics['prior'])}. Reward {whole['reward']:.3f}; always giving the same "
        f"label has accuracy {constant['accuracy']:.3f}, MCC 0 and reward {constant['reward']:.3f}. The best single "
        f"stage is the {metrics['best_single']['stage']} (MCC {metrics['best_single']['mcc']:.3f}). Running every "
        f"stage on every image costs {full:.0f} ms, the cascade {costs['share_of_full_cost']:.0%} of that."
    )
    yield from _rewards(metrics, costs)
    yield from source_table(metrics.get("source", {}))
    for name, row in metrics["stage"].items():
        if not row["on"]:
            added = row["flips_calibration"]
            before, after = added["log_loss"]
            yield (
                f"The {name} stage is switched off: added to the stages before it that are on, its net value on the "
                f"calibration split is {added['net']:+d} ({added['weighted_net']:+.1f} at the prior) and the log loss "
                f"goes from {before:.4f} to {after:.4f} "
                f"(lower by {added['gain_low']:+.4f} at least)."
            )


def _rewards(metrics: dict[str, Any], costs: dict[str, Any]) -> Iterator[str]:
    """Expected reward of the cascade, and what each stage adds to it; nothing of a table that was written before."""
    if whole := metrics.get("expected_reward"):
        yield (
            f"At the subnet's own sample sizes, MCC over 100 answers and accuracy over 10, the reward to expect is "
            f"{whole['value']:.3f} ({whole['low']:.3f} to {whole['high']:.3f})."
        )
    for name, row in metrics["stage"].items():
        if change := row.get("reward_change"):
            yield value_sentence(name, change, costs["added_ms"][name])


def _row(name: str, row: dict[str, Any], spent: dict[str, float]) -> str:
    alone, left, flipped = row["alone"], row["leaving"], row["flips"]
    risk = f"{left['errors']} of {left['n']} ({left['risk_bound']:.1%})" if left and left["n"] else ""
    cells = (
        name,
        "yes" if row["on"] else "no",
        f"{alone['n']:.0f}",
        f"{alone['mcc']:.3f}",
        f"{alone['accuracy']:.3f}",
        f"{row['without']['mcc']:.3f}" if row["without"] else "",
        f"{flipped['net']:+d} ({flipped['wrong_to_right']} right, {flipped['right_to_wrong']} wrong)"
        if flipped
        else "",
        f"{left['share']:.0%}" if left else "",
        risk,
        f"{spent['mean_ms']:.0f} ({spent['p99_ms']:.0f})",
    )
    return f"| {' | '.join(cells)} |"
