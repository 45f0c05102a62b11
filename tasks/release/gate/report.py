"""The report of the gate: everything that was compared, as one JSON document."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tasks.release.gate.floors import GateError
from tasks.release.gate.verdict import Verdict

JSON_FILE, PAGE_FILE = "gate.json", "gate.html"
# the comparison of the rewards to expect at the subnet's sample sizes (`tasks.reward`)
EXPECTED = "expected_reward"


class Part(BaseModel):
    """Immutable, and an unknown key is an error. A figure that is undefined is None: JSON has no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Fault(Part):
    """One limit that is not kept: the name of the check, and a sentence for people."""

    check: str
    text: str


class Figure(Part):
    """A figure with its interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Comparison(Part):
    """One measure of both releases, and its difference, challenger less champion.

    Attributes:
        margin: non-inferiority margin, where the verdict depends on it.
        detectable: minimum detectable effect.
    """

    name: str
    challenger: Figure
    champion: Figure
    difference: Figure
    margin: float | None = None
    detectable: float | None = None


class Discordance(Part):
    """McNemar's test, see `tasks.release.gate.statistics.PairedTest`; `unit` is view or place."""

    unit: str
    both: int
    gained: int
    lost: int
    neither: int
    p: float
    exact: bool


class SliceRow(Part):
    """Accuracy at the prior of both releases on one level or value of a slice.

    Attributes:
        judged: whether it has enough views.
        difference: with an interval that is corrected for the number of slices.
    """

    name: str
    value: str
    views: int
    challenger: float
    champion: float
    difference: Figure
    judged: bool


class Cost(Part):
    """A measured cost of both releases, and the limit on the challenger's."""

    name: str
    unit: str
    challenger: float
    champion: float
    limit: float


class Check(Part):
    """A figure of the challenger against its limit; `kept` is whether it keeps it."""

    check: str
    name: str
    value: float | None
    limit: float
    kept: bool


class Case(Part):
    """One picture that both answered: a golden one, or a hard case.

    Attributes:
        key: sha256 of its file.
        required: whether the challenger must be right on it.
    """

    key: str
    label: int
    challenger: float
    champion: float
    required: bool


class Change(Part):
    """A view that the two releases answer differently; `index` is its number among all views of the challenge set."""

    key: str
    index: int
    level: int
    place: str
    label: int
    challenger: float
    champion: float

    @property
    def gained(self) -> bool:
        """Whether the challenger is the one that is right."""
        return (self.challenger > 0.5) == (self.label == 1)


class GateReport(Part):
    """What the gate found; `gate.json` is this document.

    Attributes:
        challenger, champion: ids of the releases.
        verdict: of the comparison; `first` where nothing served before.
        failures: names of the checks that failed, each once: floor, slice, latency, memory, parity, golden, must_pass,
            invariance, tampered.
        faults: a sentence for each.
        passes: whether the challenger may be promoted.
        reason: one sentence for people.
        override: a person's reason, where one was given.
        scheduled: no person asked for the promotion.
        when: UTC, ISO 8601.
        seconds: that the gate took.
        prior: share of roadwork that figures are for.
        confidence: of intervals and tests.
        views, places: of the challenge set.
        comparisons: MCC, accuracy, their reward, recall, and the expected reward at the subnet's sample sizes.
    """

    challenger: str
    champion: str | None
    verdict: Verdict
    failures: tuple[str, ...]
    faults: tuple[Fault, ...]
    passes: bool
    reason: str
    override: str | None = None
    scheduled: bool = True
    when: str
    seconds: float = 0.0
    prior: float | None = None
    confidence: float = 0.95
    views: int = 0
    places: int = 0
    comparisons: tuple[Comparison, ...] = ()
    tests: tuple[Discordance, ...] = ()
    slices: tuple[SliceRow, ...] = ()
    costs: tuple[Cost, ...] = ()
    checks: tuple[Check, ...] = ()
    golden: tuple[Case, ...] = ()
    must_pass: tuple[Case, ...] = ()
    changes: tuple[Change, ...] = ()

    def comparison(self, name: str) -> Comparison | None:
        """The comparison of a measure; None where there was none."""
        return next((one for one in self.comparisons if one.name == name), None)


def require(report: GateReport) -> None:
    """Do nothing when the report passes.

    Raises:
        GateError: in one line, with the report's own reason.
    """
    if not report.passes:
        raise GateError(f"the gate refuses release {report.challenger}: {report.reason}")


def read_report(folder: Path) -> GateReport:
    """Read the report of a folder that `run_gate` wrote.

    Raises:
        GateError: it is missing, or is none.
    """
    try:
        return GateReport.model_validate_json((folder / JSON_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise GateError(f"{folder / JSON_FILE}: not a report of the gate: {error}") from None
