"""The sections on figures, training and weaknesses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cascade.probability import LABELS
from tasks.release.card.reports import Reports
from tasks.validation.page import figure_lines, with_interval

SHEET = Path("docs/model-card-errors.jpg")
WEAKEST = 6  # slices that are named
LABEL_OF = {"high": "roadwork", "low": "clear"}


def figures_section(reports: Reports) -> Iterator[str]:
    """Stage 1 with intervals, by level and source; then every stage alone, as far as there are reports."""
    yield "Stage 1, the exported engine on the challenge set, on which nothing is trained or tuned:"
    yield ""
    gate = reports.read("validate")
    yield from [reports.missing("validate")] if gate is None else figure_lines(gate)
    yield ""
    yield from _stages(reports)
    yield ""
    yield from _detectors(reports)


def _stages(reports: Reports) -> Iterator[str]:
    found = reports.read("select_stages")
    if found is None:
        yield reports.missing("select_stages")
        return
    yield f"Each stage alone and the cascade as it is switched on, {found['images']} views of the challenge set:"
    yield ""
    yield "| | on | views | MCC | accuracy |"
    yield "|---|---|---|---|---|"
    for name, row in found["stage"].items():
        alone = row["alone"]
        on = "yes" if row["on"] else "no"
        yield f"| {name} | {on} | {alone['n']:.0f} | {alone['mcc']:.3f} | {alone['accuracy']:.3f} |"
    whole = found["cascade"]
    yield f"| cascade | | {whole['n']:.0f} | {whole['mcc']:.3f} | {whole['accuracy']:.3f} |"


def _detectors(reports: Reports) -> Iterator[str]:
    found = reports.read("detect")
    if found is None:
        yield reports.missing("detect")
        return
    pairs = [f"{name} {found[name]['all']['map50']:.2f}" for name in ("yolo", "detr") if found[name].get("all")]
    yield f"Detectors, mAP50 on the {found['split']} split: {', '.join(pairs)}."


def training_section(reports: Reports) -> Iterator[str]:
    """Exits with their certificates, raw against averaged weights, and shortcuts by the source."""
    found = reports.read("train")
    if found is None:
        yield reports.missing("train")
        return
    for name, label in LABEL_OF.items():
        row = found[f"exit_{name}"]
        words = "certified at its risk" if row["certified"] else "not certified at its risk"
        yield (
            f"- Exit for {label} at {row['threshold']:.2f}: {words}; {row['errors']} of {row['n']} views wrong, upper "
            f"bound {row['bound']:.3f}."
        )
    yield f"- Weights of the head: {found.get('weights', {}).get('sentence') or _absent('weights')}."
    adapter = (reports.manifest("adapter") or {}).get("weights")
    if adapter:
        yield f"- Weights of the backbone's changes: {adapter['sentence']}."
    yield from _shortcuts(found.get("shortcut", {"skipped": _absent("shortcut")}))


def _shortcuts(found: Mapping[str, Any]) -> Iterator[str]:
    if "skipped" in found:
        yield f"- Source told from features: {found['skipped']}."
        return
    for name in LABELS:
        yield f"- Source told from features, {name} pictures: {found[name].get('sentence') or found[name]['skipped']}."


def _absent(name: str) -> str:
    return f"the report has no `{name}` yet; `dvc repro train` writes it"


def weaknesses_section(reports: Reports) -> Iterator[str]:
    """The weakest slices with their intervals, what no classifier can answer, and pictures that were answered wrong."""
    gate = reports.read("validate")
    if gate is None:
        yield reports.missing("validate")
    else:
        yield from _slices(gate)
        lost = gate["unanswerable"]
        yield (
            f"- In {lost['share']:.1%} of the roadwork views the crop left no works, and the label stays; without "
            f"those the MCC is {lost['mcc_without']:.3f}."
        )
        if not any(name.partition("/")[0] not in ("rendered", "sdxl") for name in gate["slice"].get("source", {})):
            yield (
                "- Every picture of this challenge set is rendered. Photographs are harder: "
                "[results](results.md#figures) has figures on sets outside of this repository."
            )
    yield ""
    yield from _pictures(reports.root)


def _slices(gate: Mapping[str, Any]) -> Iterator[str]:
    """Slices by MCC, lowest first; one of clear streets alone has no interval and says nothing of works."""
    rows = [
        (row["mcc"], f"{name} {value}", with_interval(row, "mcc"))
        for name, values in gate["slice"].items()
        for value, row in values.items()
        if name != "source" and "mcc_low" in row
    ]
    rows += [(row["mcc"], f"level {level}", with_interval(row, "mcc")) for level, row in gate["level"].items()]
    weakest = [f"{words} {figure}" for _, words, figure in sorted(rows)[:WEAKEST]]
    yield f"- Lowest MCC of all slices and levels: {'; '.join(weakest)}."


def _pictures(root: Path) -> Iterator[str]:
    if not (root / SHEET).is_file():
        command = "python -m tasks.tools.model_card --pictures"
        yield f"No pictures: {SHEET} is missing; `{command}` makes it from the champion."
        return
    yield "Rendered challenge pictures that the release answers wrong, the surest first, under the label that is true:"
    yield ""
    yield f"![rendered pictures that are answered wrong]({SHEET.name})"
