"""From what the detectors saw in the calibration split to the thresholds of the rule and a probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.detection.agreement import AgreementRule, agree, evidence
from cascade.evaluate.scores import classification_scores
from cascade.stages.detectors import EvidenceModel, consistent
from tasks.classifier.calibration import stable_cut
from tasks.config.detect import AgreementParams
from tasks.detection.inference import DetectedView
from tasks.detection.precision import average_precision, best_f1

# how much surer than at the best F1 a box may have to be before the rule counts it
STRICTER = np.arange(1.0, 3.01, 0.1)
HIGHEST = 0.95
# below this share of the score of the best F1, a box is no longer even a suspicion
SUSPICION = 0.5
# inverse strength of the L2 penalty
LOOSE = 10.0


def fit_rule(looks: Sequence[DetectedView], params: AgreementParams) -> AgreementRule:
    """Find each detector's scores.

    Each detector starts from the score of its best F1. Both are raised together until the rule's "roadwork" is right
    as often as asked for on the calibration split; where it never is, the strictest stays, and metrics.json shows it.
    """
    truths = [item.truth for item in looks]
    best = [best_f1(truths, [item.boxes[side] for item in looks]) for side in (0, 1)]
    rule = _rule(params, best, 1.0)
    for factor in STRICTER:
        rule = _rule(params, best, float(factor))
        right = [item.label for item in looks if agree(*item.boxes, rule, None) == "roadwork"]
        if not right or np.mean(right) >= params.min_precision:
            break
    return rule


def _rule(params: AgreementParams, best: Sequence[float], factor: float) -> AgreementRule:
    first, second = (round(min(HIGHEST, score * factor), 4) for score in best)
    low = tuple(round(score * SUSPICION, 4) for score in best)
    return AgreementRule(
        matches=params.matches,
        iou=params.iou,
        clear_below=params.clear_below,
        seen=(first, second),
        suspected=(low[0], low[1]),
    )


def fit_estimate(looks: Sequence[DetectedView], rule: AgreementRule, seed: int) -> EvidenceModel:
    """Fit a logistic regression on the evidence, then shift it so that 0.5 is the MCC-optimal cut."""
    from sklearn.linear_model import LogisticRegression

    x = np.stack([evidence(*item.boxes, rule) for item in looks])
    label = np.array([item.label for item in looks])
    model = LogisticRegression(C=LOOSE, max_iter=2000).fit(x, label)
    weights = np.asarray(model.coef_[0], dtype=np.float64)
    logit = x @ weights + float(model.intercept_[0])
    cut = stable_cut(logit, label, np.array([item.place for item in looks]), seed)
    return EvidenceModel(
        weights=tuple(round(float(weight), 6) for weight in weights),
        bias=round(float(model.intercept_[0]) - cut, 6),
    )


def probabilities(looks: Sequence[DetectedView], rule: AgreementRule, estimate: EvidenceModel) -> NDArray[np.float64]:
    """P(roadwork) of the stage alone, (n,): without a prior, as if no stage came before."""
    return np.array([consistent(estimate(*item.boxes, rule), agree(*item.boxes, rule, None)) for item in looks])


def measure(
    looks: Sequence[DetectedView], names: tuple[str, str], rule: AgreementRule, estimate: EvidenceModel
) -> dict[str, Any]:
    """Give mAP a detector and class, mAP50 a level, the stage's scores alone, and what the rule decides."""
    levels = sorted({item.level for item in looks})
    found: dict[str, Any] = {"views": len(looks)}
    for side, name in enumerate(names):
        found[name] = precision_of(looks, side)
        by_level = {
            str(level): precision_of([item for item in looks if item.level == level], side).get("all", {}).get("map50")
            for level in levels
        }
        found[name]["map50_by_level"] = by_level
    label = np.array([item.label for item in looks])
    alone = classification_scores(label, probabilities(looks, rule, estimate))
    found["alone"] = {name: round(value, 4) for name, value in alone.items()}
    found["rule"] = rule_report(looks, rule)
    return found


def precision_of(looks: Sequence[DetectedView], side: int) -> dict[str, Any]:
    """`average_precision` of one detector, rounded."""
    table = average_precision([item.truth for item in looks], [item.boxes[side] for item in looks])
    return {name: {key: round(value, 4) for key, value in row.items()} for name, row in table.items()}


def rule_report(looks: Sequence[DetectedView], rule: AgreementRule) -> dict[str, float | int]:
    """How often the rule says roadwork and how often rightly; the same of "both empty", before the prior is asked."""
    label = np.array([item.label for item in looks])
    works = np.array([agree(*item.boxes, rule, None) == "roadwork" for item in looks])
    empty = np.array([agree(*item.boxes, rule, 0.0) == "clear" for item in looks])
    return {
        "roadwork_share": round(float(works.mean()), 4),
        "roadwork_right": round(float(label[works].mean()), 4) if works.any() else 0.0,
        "empty_share": round(float(empty.mean()), 4),
        "empty_right": round(float(1 - label[empty].mean()), 4) if empty.any() else 0.0,
        "n": len(looks),
    }
