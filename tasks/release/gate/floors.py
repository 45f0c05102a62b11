"""Absolute floors under the figures of a release, whatever serves now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.config import Params, ValidateParams


class GateError(ValueError):
    """The gate refuses a release, or a report lacks the figures."""


def check_floors(report: Mapping[str, Any], floors: ValidateParams) -> None:
    """Pass when the report reaches every floor of params.yaml.

    Raises:
        GateError: names each figure below its floor, or missing. A missing figure never passes.
    """
    if faults := floor_faults(report, {"mcc": floors.min_mcc, "accuracy": floors.min_accuracy}):
        raise GateError(f"the gate refuses this release: {'; '.join(faults)} (params.yaml, section validate)")


def floor_faults(report: Mapping[str, Any], floors: Mapping[str, float]) -> list[str]:
    """Name each figure that is below its floor, is no number, or is missing."""
    return [fault for name, floor in floors.items() if (fault := _fault(name, report.get(name), floor))]


def first_faults(report: Mapping[str, Any], params: Params) -> list[tuple[str, str]]:
    """Hold a first release, which has nothing to be compared with, to the floors by its own report.

    Args:
        report: of the step `validate`, as the manifest repeats it. Figures that every report has must be there; recall
            and slices count where they are, since reports of before did not have them.
        params: of the project.

    Returns:
        Name of the check, `floor` or `slice`, and a sentence, one a fault.
    """
    floors = {"mcc": params.validate_.min_mcc, "accuracy": params.validate_.min_accuracy}
    floors |= {"recall": params.gate.min_recall} if "recall" in report else {}
    faults = [("floor", fault) for fault in floor_faults(report, floors)]
    limits = params.gate.slices
    groups = {"level": report.get("level", {}), **report.get("slice", {})}
    for name, values in groups.items():
        for value, scores in values.items():
            if scores["n"] >= limits.min_views:
                low = floor_faults(scores, {"accuracy": limits.min_accuracy})
                faults += [("slice", f"{name} {value}: {fault}") for fault in low]
    return faults


def _fault(name: str, value: object, floor: float) -> str | None:
    if not isinstance(value, int | float):
        return f"{name} is not in the report"
    # written so that NaN fails
    return None if value >= floor else f"{name} {value:.4f} is below {floor}"
