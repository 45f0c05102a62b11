"""From what the detectors found in the calibration split to the thresholds of the rule and a probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.detection.agreement import AgreementRule, agree, evidence
from cascade.evaluate.prior import prior_weights
from cascade.evaluate.scores import classification_scores
from cascade.stages.detectors import EvidenceModel, consistent
from tasks.classifier.calibration import stable_cut
from tasks.config.detect import AgreementParams
from tasks.detection.inference import DetectedView
from tasks.detection.precision import average_precision, best_f1


def fit_rule(views: Sequence[DetectedView], params: AgreementParams, *, prior: float | None) -> AgreementRule:
    """Find each detector's scores.

    Each detector starts from the score of its best F1. Both are raised together until the rule's "roadwork" is right
    as often as asked for on the calibration split; where it never is, the strictest stays, and metrics.json shows it.
    The best F1 is that of objects as they are: they have no prior.

    Args:
        views: of the calibration split.
        params: section `detect.agreement`.
        prior: share of roadwork for which the rule shall be right so often.
    """
    label, weight = _labels_and_weights(views, prior)
    truths = [item.truth for item in views]
    best = [best_f1(truths, [item.boxes[side] for item in views]) for side in (0, 1)]
    rule = _rule(params, best, 1.0)
    # a tenth of a step more, so that rounding does not leave the last factor out
    for factor in np.arange(1.0, params.max_factor + params.factor_step / 10, params.factor_step):
        rule = _rule(params, best, float(factor))
        works = np.array([agree(*item.boxes, rule, None) == "roadwork" for item in views])
        if not works.any() or np.average(label[works], weights=weight[works]) >= params.min_precision:
            break
    return rule


def _labels_and_weights(
    views: Sequence[DetectedView], prior: float | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels of n views and their weights for the prior, (n,) each."""
    label = np.array([item.label for item in views], dtype=np.int64)
    return label, prior_weights(label, prior)


def _rule(params: AgreementParams, best: Sequence[float], factor: float) -> AgreementRule:
    first, second = (round(min(params.max_score, score * factor), 4) for score in best)
    low = tuple(round(score * params.suspicion, 4) for score in best)
    return AgreementRule(
        matches=params.matches,
        iou=params.iou,
        clear_below=params.clear_below,
        seen=(first, second),
        suspected=(low[0], low[1]),
    )


def fit_estimate(
    views: Sequence[DetectedView], rule: AgreementRule, params: AgreementParams, seed: int, *, prior: float | None
) -> EvidenceModel:
    """Fit a logistic regression on the evidence, then shift it so that 0.5 is the MCC-optimal cut.

    Args:
        views: of the calibration split.
        rule: see `fit_rule`.
        params: section `detect.agreement`.
        seed: of the bootstrap that finds the cut.
        prior: share of roadwork that regression and cut are for.
    """
    from sklearn.linear_model import LogisticRegression

    x = np.stack([evidence(*item.boxes, rule) for item in views])
    label, weight = _labels_and_weights(views, prior)
    model = LogisticRegression(C=params.inverse_l2, max_iter=2000).fit(x, label, sample_weight=weight)
    weights = np.asarray(model.coef_[0], dtype=np.float64)
    logit = x @ weights + float(model.intercept_[0])
    places = np.array([item.place for item in views])
    cut = stable_cut(logit, label, places, resamples=params.cut_resamples, seed=seed, prior=prior)
    return EvidenceModel(
        weights=tuple(round(float(weight), 6) for weight in weights),
        bias=round(float(model.intercept_[0]) - cut, 6),
    )


def probabilities(views: Sequence[DetectedView], rule: AgreementRule, estimate: EvidenceModel) -> NDArray[np.float64]:
    """P(roadwork) of the stage alone for n views, (n,): without a prior, as if no stage came before."""
    return np.array([consistent(estimate(*item.boxes, rule), agree(*item.boxes, rule, None)) for item in views])


def measure(
    views: Sequence[DetectedView],
    names: tuple[str, str],
    rule: AgreementRule,
    estimate: EvidenceModel,
    *,
    prior: float | None,
) -> dict[str, Any]:
    """Give mAP a detector and class, mAP50 a level, the stage's scores alone, and what the rule decides.

    The prior is for the last two; mean average precision is a figure of objects.
    """
    levels = sorted({item.level for item in views})
    found: dict[str, Any] = {"views": len(views), "prior": prior}
    for side, name in enumerate(names):
        found[name] = precision_of(views, side)
        by_level = {
            str(level): precision_of([item for item in views if item.level == level], side).get("all", {}).get("map50")
            for level in levels
        }
        found[name]["map50_by_level"] = by_level
    label = np.array([item.label for item in views])
    alone = classification_scores(label, probabilities(views, rule, estimate), prior=prior)
    found["alone"] = {name: round(value, 4) for name, value in alone.items()}
    found["rule"] = rule_report(views, rule, prior)
    return found


def precision_of(views: Sequence[DetectedView], side: int) -> dict[str, Any]:
    """`average_precision` of one detector, rounded."""
    table = average_precision([item.truth for item in views], [item.boxes[side] for item in views])
    return {name: {key: round(value, 4) for key, value in row.items()} for name, row in table.items()}


def rule_report(views: Sequence[DetectedView], rule: AgreementRule, prior: float | None) -> dict[str, float | int]:
    """How often the rule says roadwork and how often rightly; the same of "both empty", whatever stage 1 gave.

    Args:
        views: n of them, which is counted as it is.
        rule: see `fit_rule`.
        prior: share of roadwork that the shares are for.
    """
    label, weight = _labels_and_weights(views, prior)
    works = np.array([agree(*item.boxes, rule, None) == "roadwork" for item in views])
    empty = np.array([agree(*item.boxes, rule, 0.0) == "clear" for item in views])
    return {
        "roadwork_share": round(float(np.average(works, weights=weight)), 4),
        "roadwork_right": round(float(np.average(label[works], weights=weight[works])), 4) if works.any() else 0.0,
        "empty_share": round(float(np.average(empty, weights=weight)), 4),
        "empty_right": round(float(1 - np.average(label[empty], weights=weight[empty])), 4) if empty.any() else 0.0,
        "n": len(views),
    }
