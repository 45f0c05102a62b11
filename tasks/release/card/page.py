"""docs/model-card.md: the fixed text of card.md with the sections that reports and manifests give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from string import Template
from textwrap import wrap

from tasks.config import Params
from tasks.release.card.data import data_lines
from tasks.release.card.figures import figures_section, training_section, weaknesses_section
from tasks.release.card.reports import Reports

TEMPLATE = Path(__file__).with_name("card.md")
WIDTH = 120  # characters


def card_text(reports: Reports, params: Params) -> str:
    """Make the card; the same reports give the same text.

    Args:
        reports: where figures come from; a report that is missing becomes a line that says what writes it.
        params: profile, prior, and the sources of section `pull`.
    """
    sections = {
        "model": _model(reports, params),
        "data": data_lines(reports, params.pull),
        "figures": figures_section(reports),
        "training": training_section(reports),
        "weaknesses": weaknesses_section(reports),
    }
    text = Template(TEMPLATE.read_text(encoding="utf-8"))
    return text.substitute({name: "\n".join(_wrapped(lines)) for name, lines in sections.items()})


def _model(reports: Reports, params: Params) -> Iterator[str]:
    yield (
        f"StreetVision Cascade, profile `{params.profile}`: up to four stages, a classifier on a DINOv2 with low-rank "
        "changes, two detectors, a vision-language model and a text reader. [architecture](architecture.md) has the "
        "whole. Licence: AGPL-3.0-or-later."
    )
    yield ""
    gate = reports.digest
    yield f"The figures are those whose digest is `{gate}`." if gate else reports.missing("validate")
    chosen = reports.read("select_stages")
    if chosen is not None:
        on = [name for name, row in chosen["stage"].items() if row["on"]]
        yield f"Stages that are switched on: {', '.join(on)}."


def _wrapped(lines: Iterable[str]) -> Iterator[str]:
    """Sentences wrapped, rows of tables as they are."""
    for line in lines:
        if line.startswith("|") or not line:
            yield line
        else:
            hang = "  " if line.startswith("- ") else ""
            yield from wrap(line, WIDTH, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False)
