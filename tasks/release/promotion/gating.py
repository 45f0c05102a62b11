"""The gate, as a promotion asks it, and what the ledger keeps of its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cascade.release.store import Release
from tasks.common.files import sha256_file
from tasks.config import Params
from tasks.release.gate import GateReport, log_gate, read_report, require, run_gate
from tasks.release.gate.report import JSON_FILE

REPORTS = Path("var/gate/reports")


@dataclass(frozen=True)
class GateEvidence:
    """What the ledger says of the gate: its verdict, where its report lies, and the report's sha256."""

    verdict: str
    report: str
    digest: str

    def read(self) -> GateReport:
        """The report itself."""
        return read_report(Path(self.report).parent)


def preview_gate(params: Params, challenger: Release, champion: Release | None) -> GateReport:
    """Ask the gate for a person who decides afterwards; the report is kept as that of a promotion is.

    Args:
        params: all of params.yaml.
        challenger: verified, and registered in MLflow.
        champion: that serves now, None for the first promotion.

    Raises:
        GateError: a check failed or the release is worse, which no person may override.
        DataError: the challenge set or the reviews cannot be used.
        RegisterError: MLflow cannot keep the report.
    """
    report = _ask(params, challenger, champion)
    if report.failures or report.verdict != "inconclusive":
        require(report)
    return report


def pass_gate(
    params: Params,
    challenger: Release,
    champion: Release | None,
    *,
    override: str | None,
    scheduled: bool,
    record: bool = True,
    tree: Path = Path(),
) -> GateEvidence:
    """Ask the gate, keep its report in MLflow too, and give what the ledger says of it.

    Args:
        params: all of params.yaml.
        challenger: verified, and registered in MLflow.
        champion: that serves now, None for the first promotion.
        override: a person's reason to promote in spite of an inconclusive comparison.
        scheduled: no person asks.
        record: off for a dry run, which leaves MLflow as it is.
        tree: folder with the challenge set, the hard cases and their reviews.

    Raises:
        GateError: the gate refuses the release; says why.
        DataError: the challenge set or the reviews cannot be used.
        RegisterError: MLflow cannot keep the report.
    """
    report = _ask(params, challenger, champion, override=override, scheduled=scheduled, record=record, tree=tree)
    require(report)
    file = REPORTS / challenger.id / JSON_FILE
    return GateEvidence(report.verdict, str(file), sha256_file(file))


def _ask(
    params: Params,
    challenger: Release,
    champion: Release | None,
    *,
    override: str | None = None,
    scheduled: bool = False,
    record: bool = True,
    tree: Path = Path(),
) -> GateReport:
    out = REPORTS / challenger.id
    report = run_gate(params, challenger, champion, override=override, scheduled=scheduled, out=out, tree=tree)
    if record:
        log_gate(params, report, out)
    return report
