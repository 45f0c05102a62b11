"""docs/scale.md: its table is that of the rates, and the rates are those of the pages that measured them."""

from __future__ import annotations

import json

import pytest

from tasks.tools import fleet_costs as costs
from tests.support.paths import ROOT


def test_the_page_is_up_to_date() -> None:
    text = (ROOT / costs.PAGE).read_text(encoding="utf-8")
    assert costs.page(text) == text, "python -m tasks.tools.fleet_costs"


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("results.md", f"| stage 1 as served (int8) against the pipeline | {costs.CLASSIFIER_MS} ms |"),
        ("results.md", f"| the same classifier in torch fp32 | | {costs.EMBED_MS} ms |"),
        ("results.md", f"against torch eager fp32 | {costs.LARGE_MS:.0f} ms |"),
        ("results.md", f"| detectors | 0.806 | 0.897 | {costs.DETECTORS_MS:.0f} |"),
        ("results.md", f"0.542 | {costs.VLM_MS:.0f} |"),
        ("results.md", f"0.500 | {costs.OCR_MS:.0f} |"),
        ("mining.md", f"| 100,000 | 19.0 | {costs.SELECT[100_000]} |"),
        ("mining.md", f"| 1,000,000 | 29.0 | {costs.SELECT[1_000_000]} | 2.77 GB, of which {costs.PAGES_GB} GB"),
    ],
)
def test_rates_are_those_that_were_measured(page: str, words: str) -> None:
    assert words in (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_the_share_that_goes_on_is_the_report_s() -> None:
    report = json.loads((ROOT / "reports/select_stages/metrics.json").read_text(encoding="utf-8"))
    leaving = report["stage"]["classifier"]["leaving"]["share"]
    assert pytest.approx(1 - leaving, abs=0.05) == costs.UNDECIDED


def test_ten_times_the_frames_are_ten_times_the_cores() -> None:
    assert costs.cores(10_000_000, 20) == pytest.approx(10 * costs.cores(1_000_000, 20))
    assert costs.cores(costs.DAY, 1000) == costs.THREADS
    assert costs.select_seconds(1_000_000) == pytest.approx(costs.SELECT[1_000_000])
