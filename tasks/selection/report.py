"""The report of a comparison: figures of every stage and of the cascade on the challenge set, and their costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cascade.evaluate.prior import prior_weights, share_at
from cascade.evaluate.scores import constant_answer
from tasks.selection.by_source import source_figures
from tasks.selection.replay import (
    ReplayResult,
    cost,
    figures,
    flips,
    full_cost,
    leaving,
    replay,
    subset_runs,
    without,
)
from tasks.selection.select import StageSelection
from tasks.selection.stage_predictions import StagePredictions
from tasks.selection.stage_value import Bootstrap, cascade_value, stage_milliseconds, stage_value


@dataclass(frozen=True)
class SelectionReport:
    """What is written of a comparison.

    Attributes:
        metrics: figures without timings, so that two runs give the same bytes.
        costs: milliseconds an image: of the cascade, of every stage alone, and of the cascade without it.
        runs: every combination of stages.
        on: the combination that is switched on.
        prior: share of roadwork that the figures are for; None for that of the views.
    """

    metrics: dict[str, Any]
    costs: dict[str, Any]
    runs: dict[tuple[str, ...], ReplayResult]
    on: tuple[str, ...]
    prior: float | None

    @property
    def table(self) -> dict[str, Any]:
        """The content of stages.json, which `tasks.selection.page` turns into Markdown."""
        return {"metrics": self.metrics, "cost": self.costs}


def make_report(
    predictions: StagePredictions, selected: StageSelection, drawn: Bootstrap, *, prior: float | None
) -> SelectionReport:
    """Compute figures and costs of the stages and of the cascade.

    Args:
        predictions: of the challenge set.
        selected: what was decided on the calibration split.
        drawn: resamples of places; its confidence is also that of the bound on the risk of each exit.
        prior: share of roadwork that the figures are for.
    """
    stages = list(predictions.stages)
    runs = subset_runs(predictions, stages, selected.rule)
    return SelectionReport(
        metrics=_metrics(predictions, selected, drawn, prior),
        costs=_costs(predictions, selected),
        runs=dict(runs),
        on=tuple(selected.on),
        prior=prior,
    )


def _metrics(
    predictions: StagePredictions, selected: StageSelection, drawn: Bootstrap, prior: float | None
) -> dict[str, Any]:
    stages, rule = list(predictions.stages), selected.rule
    cascade = replay(predictions, selected.on, rule)
    left = dict(leaving(cascade, drawn.confidence, prior=prior))
    rows = {
        name: _row(predictions, name, selected, cascade, prior)
        | {"flips_calibration": selected.added.get(name), "leaving": left.get(name)}
        | {"reward_change": stage_value(predictions, name, selected, drawn, prior)}
        for name in stages
    }
    whole, undecided = figures(cascade, prior=prior), cascade.decided_by < 0
    best = max(stages, key=lambda name: rows[name]["alone"]["mcc"])
    return {
        "images": len(predictions.label),
        "prior": prior,
        "constant": constant_answer(share_at(cascade.label, prior)),
        "cascade": whole
        | {"undecided": round(float(np.average(undecided, weights=prior_weights(cascade.label, prior))), 6)},
        "expected_reward": cascade_value(predictions, cascade, drawn, prior),
        "every_stage_on": figures(replay(predictions, stages, rule), prior=prior),
        "best_single": {"stage": best, "mcc": rows[best]["alone"]["mcc"]},
        "mcc_over_best_single": round(whole["mcc"] - rows[best]["alone"]["mcc"], 6),
        "rule": rule.weights,
        "stage": rows,
        "source": source_figures(predictions, selected, prior=prior),
    }


def _row(
    predictions: StagePredictions, name: str, selected: StageSelection, cascade: ReplayResult, prior: float | None
) -> dict[str, Any]:
    on, rule = selected.on, selected.rule
    # a cascade of one stage has nothing left without it
    less = without(predictions, on, name, rule) if name in on and len(on) > 1 else None
    return {
        "on": name in on,
        "alone": figures(replay(predictions, [name], rule), prior=prior),
        "without": figures(less, prior=prior) if less else None,
        "flips": flips(less, cascade, prior=prior) if less else None,
        "estimates": _estimates(predictions, name),
    }


def _estimates(predictions: StagePredictions, name: str) -> float:
    """Share of the images that a stage ran on, as they are, for which it gives a probability."""
    results = [result for result in predictions.stages[name].without_prior if result is not None]
    return round(sum(result.probability is not None for result in results) / len(results), 6)


def _costs(predictions: StagePredictions, selected: StageSelection) -> dict[str, Any]:
    stages, on, rule = list(predictions.stages), selected.on, selected.rule
    cascade, full = cost(replay(predictions, on, rule)), full_cost(predictions, stages)
    return {
        "cascade": cascade,
        "every_stage_on_every_image_ms": round(full, 2),
        "share_of_full_cost": round(cascade["mean_ms"] / max(full, 1e-9), 4),
        **{f"alone: {name}": cost(replay(predictions, [name], rule)) for name in stages},
        **{f"without: {name}": cost(without(predictions, on, name, rule)) for name in on if len(on) > 1},
        "added_ms": {name: stage_milliseconds(predictions, name, selected) for name in stages},
    }


def why(added: dict[str, Any] | None) -> str:
    """The reason for switching a stage on or off, for the settings of the release; "" for the classifier."""
    if added is None:
        return ""
    gained, lost = added["wrong_to_right"], added["right_to_wrong"]
    before, after = added["log_loss"]
    return (
        f"net value {added['net']:+d} on the calibration split ({added['weighted_net']:+.1f} at the prior): {gained} "
        f"answers put right, {lost} spoilt; "
        f"log loss {before:.4f} without it, {after:.4f} with it (at least {added['gain_low']:+.4f} lower)"
    )


def stages_on(metrics: dict[str, Any]) -> Sequence[str]:
    """Names of the stages that are switched on."""
    return [name for name, row in metrics["stage"].items() if row["on"]]
