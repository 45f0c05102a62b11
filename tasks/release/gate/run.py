"""The gate: challenger against champion, from two releases to a report on disk."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cascade.engines.base import EngineError
from cascade.release.store import Release, ReleaseError, load_release
from tasks.common.files import write_bytes
from tasks.config import Params
from tasks.release.gate.cases import (
    HardCasePaths,
    broken,
    golden_cases,
    golden_pictures,
    hard_pictures,
    must_pass_cases,
    read_fixed,
)
from tasks.release.gate.challenge import PULLED, Challenge, open_challenge, predict
from tasks.release.gate.comparison import Compared, compare, slice_faults
from tasks.release.gate.cost import compare_costs
from tasks.release.gate.floors import first_faults, floor_faults
from tasks.release.gate.page import write_page
from tasks.release.gate.probes import probe
from tasks.release.gate.report import JSON_FILE, PAGE_FILE, Case, Check, Cost, Fault, GateReport
from tasks.release.gate.store import classifier_digest
from tasks.release.gate.verdict import Verdict, may_pass
from tasks.release.gate.words import sentence

SHOWN_KEY = 12  # digits of a picture's digest in a sentence


@dataclass
class Findings:
    """What was found so far; see `GateReport`."""

    verdict: Verdict = "inconclusive"
    faults: list[Fault] = field(default_factory=list)
    note: str = ""
    parts: dict[str, Any] = field(default_factory=dict)
    compared: Compared | None = None

    def add(self, faults: Iterable[Fault]) -> None:
        """Add faults."""
        self.faults += faults


def run_gate(
    params: Params,
    challenger: Release,
    champion: Release | None,
    *,
    override: str | None = None,
    scheduled: bool = True,
    out: Path,
    pulled: Path = PULLED,
    hard_cases: HardCasePaths | None = None,
    tree: Path = Path(),
) -> GateReport:
    """Hold a release against the one that serves, and write `gate.json` and `gate.html` below `out`.

    Args:
        params: of the project.
        challenger: the release that wants to be promoted. Its files are verified here.
        champion: the one that serves; None where there is none: then floors alone count.
        override: a person's reason to promote although the verdict is inconclusive.
        scheduled: whether nobody asks for the promotion; an override does not count then.
        out: folder of the report; is made.
        pulled: data folder with the challenge set.
        hard_cases: folders of mined batches and their reviews.
        tree: folder that `pulled`, `hard_cases` and `gate.must_pass.file` are relative to.

    Raises:
        DataError: the challenge set or the reviews cannot be used.
    """
    start = time.perf_counter()
    found, challenge = Findings(), None
    if (altered := _altered(challenger)) is not None:
        found.add([altered])
    elif champion is None or same_files(challenger, champion):
        _by_report(found, challenger, champion, params)
    else:
        challenge = open_challenge(params, tree / pulled)
        paths = (hard_cases or HardCasePaths()).below(tree)
        _by_comparison(found, challenger, champion, challenge, _below(params, tree), paths)
    report = _report(found, challenger, champion, params, override, scheduled, time.perf_counter() - start)
    write_bytes(out / JSON_FILE, (report.model_dump_json(indent=1) + "\n").encode())
    write_page(report, found.compared, challenge, challenger, params, out / PAGE_FILE)
    return report


def _below(params: Params, tree: Path) -> Params:
    """The parameters with the list of hard cases of `tree`."""
    must_pass = params.gate.must_pass.model_copy(update={"file": tree / params.gate.must_pass.file})
    return params.model_copy(update={"gate": params.gate.model_copy(update={"must_pass": must_pass})})


def same_files(challenger: Release, champion: Release) -> bool:
    """Whether two releases answer alike by their manifests: nothing but reports and revisions differs."""
    kept = [
        {name: entry for name, entry in one.manifest.files.items() if name not in ("gate.json", "parity.json")}
        for one in (challenger, champion)
    ]
    return kept[0] == kept[1]


def _altered(release: Release) -> Fault | None:
    try:
        load_release(release.folder)
    except ReleaseError as error:
        return Fault(check="tampered", text=str(error))
    return None


def _by_report(found: Findings, challenger: Release, champion: Release | None, params: Params) -> None:
    """Nothing to compare with: the floors, by the release's own report."""
    found.verdict = "first" if champion is None else "no_worse"
    found.note = "" if champion is None else "its files are those of the champion"
    found.add(Fault(check=check, text=text) for check, text in first_faults(challenger.manifest.gate, params))


def _by_comparison(
    found: Findings,
    challenger: Release,
    champion: Release,
    challenge: Challenge,
    params: Params,
    paths: HardCasePaths,
) -> None:
    try:
        new = predict(challenger, challenge, params)
    except EngineError as error:
        found.add([Fault(check="engine", text=f"the challenger cannot be run: {error}")])
        return
    try:
        old = predict(champion, challenge, params)
    except EngineError as error:
        found.note = f"champion {champion.id} cannot be run: {error}"
        return
    compared = compare(new, old, challenge, params)
    found.compared, found.verdict = compared, compared.verdict
    found.parts |= {name: getattr(compared, name) for name in ("comparisons", "tests", "slices", "changes")}
    found.parts |= {"views": len(new.p), "places": len(set(new.place.tolist()))}
    found.add(_floor_faults(compared, params))
    found.add(slice_faults(compared.slices, params))
    try:
        _examine(found, challenger, champion, challenge, params, paths)
    except EngineError as error:
        found.add([Fault(check="engine", text=str(error))])


def _examine(
    found: Findings,
    challenger: Release,
    champion: Release,
    challenge: Challenge,
    params: Params,
    paths: HardCasePaths,
) -> None:
    """All checks beside the figures on the challenge set."""
    # of one and the same engine the two figures would differ by chance alone
    alike = classifier_digest(challenger) == classifier_digest(champion)
    costs = () if alike else compare_costs(challenger, champion, params.gate)
    golden, alone = golden_cases(
        challenger, champion, golden_pictures(challenge.file, params.gate.golden.pictures), params
    )
    known = read_fixed(params.gate.must_pass.file)
    hard = must_pass_cases(challenger, champion, hard_pictures(paths), known, params)
    checks = (*probe(challenger, challenge, params), alone)
    found.parts |= {"costs": costs, "checks": checks, "golden": golden, "must_pass": hard}
    found.add(_cost_faults(costs))
    found.add(_check_faults(checks))
    found.add(_case_faults("golden", golden, 0))
    found.add(_case_faults("must_pass", hard, params.gate.must_pass.max_broken))


def _floor_faults(compared: Compared, params: Params) -> Iterator[Fault]:
    figures = {one.name: one.challenger.value for one in compared.comparisons}
    floors = {
        "mcc": params.validate_.min_mcc,
        "accuracy": params.validate_.min_accuracy,
        "recall": params.gate.min_recall,
    }
    yield from (Fault(check="floor", text=text) for text in floor_faults(figures, floors))


def _cost_faults(costs: Iterable[Cost]) -> Iterator[Fault]:
    for one in costs:
        if not one.challenger <= one.limit:
            against = f"{one.challenger:.1f} {one.unit} against the champion's {one.champion:.1f}"
            yield Fault(check=one.name, text=f"{one.name} {against}, more than {one.limit:.1f} {one.unit}")


def _check_faults(checks: Iterable[Check]) -> Iterator[Fault]:
    for one in checks:
        if not one.kept:
            value = "cannot be measured" if one.value is None else f"is {one.value:.4f}, more than {one.limit}"
            yield Fault(check=one.check, text=f"{one.name} {value}")


def _case_faults(check: str, cases: tuple[Case, ...], allowed: int) -> Iterator[Fault]:
    lost = broken(cases)
    if len(lost) > allowed:
        needed = sum(one.required for one in cases)
        names = ", ".join(one.key[:SHOWN_KEY] for one in lost[:3])
        yield Fault(check=check, text=f"{len(lost)} of {needed} required pictures are answered wrong: {names}")


def _report(
    found: Findings,
    challenger: Release,
    champion: Release | None,
    params: Params,
    override: str | None,
    scheduled: bool,
    seconds: float,
) -> GateReport:
    failures = tuple(dict.fromkeys(one.check for one in found.faults))
    passes = may_pass(found.verdict, failures, override=override, scheduled=scheduled)
    draft = GateReport(
        challenger=challenger.id,
        champion=None if champion is None else champion.id,
        verdict=found.verdict,
        failures=failures,
        faults=tuple(found.faults),
        passes=passes,
        reason="",
        override=override,
        scheduled=scheduled,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 2),
        prior=params.prior,
        confidence=params.gate.confidence,
        **found.parts,
    )
    return draft.model_copy(update={"reason": sentence(draft, found.note)})
