"""The gate, as a promotion asks it: the one place that knows which gate that is."""

from __future__ import annotations

from dataclasses import dataclass

from cascade.release.store import GATE, Release
from tasks.config import Params
from tasks.release.gate import check_floors


@dataclass(frozen=True)
class GateEvidence:
    """What the ledger says of the gate: its verdict, where its report lies, and the report's sha256."""

    verdict: str
    report: str
    digest: str


def pass_gate(
    params: Params, challenger: Release, champion: Release | None, *, override: str | None, scheduled: bool
) -> GateEvidence:
    """Ask the gate, and give what the ledger says of it.

    Args:
        params: all of params.yaml.
        challenger: verified.
        champion: that serves now, None for the first promotion.
        override: a person's reason to promote in spite of an inconclusive comparison.
        scheduled: no person asks.

    Raises:
        GateError: the gate refuses the release; says why.
    """
    check_floors(challenger.manifest.gate, params.validate_)
    report = challenger.folder / GATE
    return GateEvidence("floors reached", str(report), challenger.manifest.files[GATE].sha256)
