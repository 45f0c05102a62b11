"""The gate before a promotion: absolute floors under the challenge set's figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.config import ValidateParams


class GateError(ValueError):
    """A release does not reach the floors, or its report lacks the figures."""


def check_floors(report: Mapping[str, Any], floors: ValidateParams) -> None:
    """Pass when the report reaches every floor of params.yaml.

    Raises:
        GateError: names each figure below its floor, or missing. A missing figure never passes.
    """
    wanted = {"mcc": floors.min_mcc, "accuracy": floors.min_accuracy}
    faults = [fault for name, floor in wanted.items() if (fault := _fault(name, report.get(name), floor))]
    if faults:
        raise GateError(f"the gate refuses this release: {'; '.join(faults)} (params.yaml, section validate)")


def _fault(name: str, value: object, floor: float) -> str | None:
    if not isinstance(value, int | float):
        return f"{name} is not in the report"
    # written so that NaN fails
    return None if value >= floor else f"{name} {value:.4f} is below {floor}"
