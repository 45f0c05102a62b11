"""Figures by source: what the stages are worth on renderings and on photographs, each alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cascade.release.manifest import FusionRule
from tasks.selection.by_source import source_figures, source_table
from tasks.selection.select import StageSelection
from tests.support.selection import predictions

# stage 1 is right on the four renderings and wrong on two of the four photographs; the vlm never ran on renderings
MADE = predictions(
    [1, 0, 1, 0, 1, 0, 1, 0],
    classifier=[0.95, 0.05, 0.95, 0.05, 0.95, 0.05, 0.4, 0.6],
    vlm=[None, None, None, None, 0.9, 0.1, 0.8, 0.2],
)
SOURCES = ("rendered",) * 4 + ("photos/berlin", "photos/berlin", "photos/oslo", "photos/oslo")
ON = StageSelection(on=["classifier"], rule=FusionRule(), added={})


def test_each_source_has_its_own_figures() -> None:
    found = source_figures(replace(MADE, source=SOURCES), ON, prior=0.5)
    assert list(found) == ["photos", "rendered"]
    assert (found["photos"]["views"], found["photos"]["roadwork"]) == (4, 2)
    assert found["rendered"]["classifier"]["mcc"] == found["rendered"]["cascade"]["mcc"] == 1.0
    assert found["photos"]["cascade"]["accuracy"] == pytest.approx(0.5)
    assert found["photos"]["vlm"]["mcc"] == 1.0


@pytest.mark.parametrize("sources", [(), ("rendered",) * 8, ("photos/a", "photos/b") * 4])
def test_one_source_needs_no_table(sources: tuple[str, ...]) -> None:
    assert source_figures(replace(MADE, source=sources), ON, prior=0.5) == {}
    assert list(source_table({})) == []


def test_a_stage_that_ran_on_no_view_of_a_source_is_left_out() -> None:
    record = MADE.stages["vlm"]
    absent = (None,) * 4 + record.without_prior[4:]
    stages = {**MADE.stages, "vlm": replace(record, with_prior=absent, without_prior=absent)}
    found = source_figures(replace(MADE, stages=stages, source=SOURCES), ON, prior=0.5)
    assert "vlm" not in found["rendered"]
    table = list(source_table(found))
    assert table[3] == "| source | views (roadwork) | classifier | vlm | cascade | every stage on |"
    assert table[-2].startswith("| rendered | 4 (2) | 1.000 |  | 1.000 |")


def test_a_source_of_one_label_has_no_mcc_to_show() -> None:
    found = source_figures(replace(MADE, source=("clear", "rendered") * 4), ON, prior=0.5)
    assert (found["rendered"]["roadwork"], found["rendered"]["cascade"]["mcc"]) == (0, 0.0)
