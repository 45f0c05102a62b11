"""The figures of `validate` as a table for people: each beside the constant answer's and the champion's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cascade.evaluate.prior import describe_prior
from cascade.release.store import RELEASES, ReleaseError, champion
from tasks.common.files import write_bytes

PAGE = "figures.md"  # outside of DVC: the champion is no input of the stage
HEADLINE = {"mcc": "MCC", "accuracy": "accuracy", "reward": "reward", "auc": "AUC"}
SAME_SET = {"n": "views", "places": "places", "prior": "prior"}  # what two reports must share to be compared
GUESS = 0.5  # AUC of an answer that is always the same: every pair is a tie


def champion_figures(releases: Path = RELEASES) -> dict[str, Any]:
    """The figures that the champion was promoted with, and its `id`; empty where there is none.

    A champion that cannot be read gives `id` and `fault` alone: it must not keep a challenger from being measured.
    """
    try:
        # sizes alone: its files were verified when it was promoted, and are not used here
        found = champion(releases, digests=False)
    except ReleaseError as error:
        return {"id": "unreadable", "fault": str(error)}
    return {**found.manifest.gate, "id": found.id} if found else {}


def beside(metrics: Mapping[str, Any], best: Mapping[str, Any]) -> dict[str, Any]:
    """The headline figures of the constant answer and of the champion, as plain data, with what makes them unlike."""
    constant = {**metrics["constant"], "auc": GUESS}
    found: dict[str, Any] = {"constant": {name: constant[name] for name in HEADLINE}}
    if best:
        figures = {name: best[name] for name in HEADLINE if name in best}
        note = best.get("fault") or unlike(metrics, best)
        found["champion"] = {"id": best["id"], **figures} | ({"note": note} if note else {})
    return found


def unlike(metrics: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    """Why the champion's figures do not compare with these; empty where they do, as far as the reports say."""
    apart = [
        f"{word} {best.get(name)}, here {metrics.get(name)}"
        for name, word in SAME_SET.items()
        if best.get(name) != metrics.get(name)
    ]
    return f"it was measured on another set ({'; '.join(apart)})" if apart else ""


def write_page(path: Path, metrics: Mapping[str, Any], best: Mapping[str, Any]) -> None:
    """Write the table as a page of its own; MLflow keeps it beside the metrics."""
    write_bytes(path, ("\n".join(["# Stage 1 on the challenge set", "", *figure_lines(metrics, best)]) + "\n").encode())


def figure_lines(metrics: Mapping[str, Any], best: Mapping[str, Any] | None = None) -> list[str]:
    """The table in Markdown, and below it the prior and what to know of the champion.

    Args:
        metrics: see `tasks.validation.metrics.measure`.
        best: see `champion_figures`; a column only where there are figures.
    """
    known = best if best and "fault" not in best else None
    column = f" champion `{known['id']}` |" if known else ""
    lines = [f"| | measured | always the same label |{column}", "|---|---|---|" + ("---|" if known else "")]
    for words, keys, constant in _rows(metrics):
        cell = f" {with_interval(known, *keys)} |" if known else ""
        lines.append(f"| {words} | {with_interval(metrics, *keys)} | {constant} |{cell}")
    lines += ["", f"{metrics['n']:.0f} views of {metrics['places']} places, {describe_prior(metrics['prior'])}."]
    if best and (note := best.get("fault") or unlike(metrics, best)):
        lines.append(f"The champion's figures do not compare: {note}.")
    return lines


def with_interval(document: Mapping[str, Any], *keys: str) -> str:
    """A figure with its interval where it has one; empty where there is none."""
    row: Any = document
    for key in keys[:-1]:
        row = row.get(key) if isinstance(row, Mapping) else None
    found = [row.get(name) if isinstance(row, Mapping) else None for name in _with_ends(keys[-1])]
    if not isinstance(found[0], int | float):
        return ""
    return f"{found[0]:.3f}" + (f" ({found[1]:.3f} to {found[2]:.3f})" if None not in found else "")


def _with_ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Words, keys and the constant answer's figure of each row."""
    constant = {**metrics["constant"], "auc": GUESS}
    for name, words in HEADLINE.items():
        yield words, (name,), f"{constant[name]:.3f}"
    for level in metrics["level"]:
        yield f"MCC, level {level}", ("level", level, "mcc"), "0.000"
    for source in metrics["slice"].get("source", {}):
        yield f"MCC, source {source}", ("slice", "source", source, "mcc"), "0.000"
