"""The gate before a promotion: a challenger against the champion, on the same challenge images.

`run_gate` compares and writes the report, `require` refuses what does not pass, `log_gate` puts the report into MLflow,
and `remember_fixed` adds to the hard cases that no later release may lose.
"""

from tasks.release.gate.cases import HardCasePaths, remember_fixed
from tasks.release.gate.floors import GateError, check_floors
from tasks.release.gate.record import log_gate
from tasks.release.gate.report import GateReport, read_report, require
from tasks.release.gate.run import run_gate
from tasks.release.gate.words import to_markdown

__all__ = [
    "GateError",
    "GateReport",
    "HardCasePaths",
    "check_floors",
    "log_gate",
    "read_report",
    "remember_fixed",
    "require",
    "run_gate",
    "to_markdown",
]  # fmt: skip
