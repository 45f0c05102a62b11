"""What stages and cascade are worth on each source of the challenge set alone: renderings beside photographs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tasks.selection.replay import ReplayResult, figures, replay
from tasks.selection.select import StageSelection
from tasks.selection.stage_predictions import StagePredictions

CASCADE, ALL_ON = "cascade", "every stage on"


def source_figures(
    predictions: StagePredictions, selected: StageSelection, *, prior: float | None
) -> dict[str, dict[str, Any]]:
    """Give the figures of each stage alone, of the cascade and of every stage together, by source.

    Args:
        predictions: of the challenge set. Sources count by the part of their name before the first slash.
        selected: the stages that are on, and the rule.
        prior: share of roadwork that the figures are for; a source of one label has accuracy alone to tell.

    Returns:
        By source, `views`, `roadwork` and the figures by name; nothing where all views have the same source.
    """
    group = np.array([source.partition("/")[0] for source in predictions.source])
    label = np.array(predictions.label)
    if len(set(group)) < 2:
        return {}
    stages = list(predictions.stages)
    combinations = {**{name: [name] for name in stages}, CASCADE: selected.on, ALL_ON: stages}
    runs = {name: replay(predictions, chosen, selected.rule) for name, chosen in combinations.items()}
    return {
        str(source): {
            "views": int(np.sum(group == source)),
            "roadwork": int(label[group == source].sum()),
            **{name: figures(part, prior=prior) for name, part in _parts(runs, group == source)},
        }
        for source in sorted(set(group))
    }


def _parts(runs: dict[str, ReplayResult], wanted: np.ndarray) -> Iterator[tuple[str, ReplayResult]]:
    """The runs on some of the views; a run that knows none of them is left out."""
    for name, run in runs.items():
        rows = wanted[run.views]
        if rows.any():
            arrays = ("views", "label", "p", "decided_by", "milliseconds")
            yield name, replace(run, **{one: getattr(run, one)[rows] for one in arrays})


def source_table(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table: MCC, and the views that it is of; nothing without figures."""
    if not found:
        return
    names = list(dict.fromkeys(name for one in found.values() for name in one if name not in ("views", "roadwork")))
    yield ""
    yield "MCC by source, and on how many views where a stage did not run on all of them:"
    yield ""
    yield f"| source | views (roadwork) | {' | '.join(names)} |"
    yield f"|{'---|' * (len(names) + 2)}"
    for source, one in found.items():
        cells = (_cell(one.get(name), one["views"]) for name in names)
        yield f"| {source} | {one['views']} ({one['roadwork']}) | {' | '.join(cells)} |"
    yield ""


def _cell(figure: dict[str, float] | None, views: int) -> str:
    if figure is None:
        return ""
    return f"{figure['mcc']:.3f}" + (f" ({figure['n']:.0f})" if figure["n"] < views else "")
