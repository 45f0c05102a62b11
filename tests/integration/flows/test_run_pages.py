"""The pages of Prefect's UI in Chromium: what a person reads of a finished run, and of a failed one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.flows.test_retrain import FAILING, run
from tests.support.browser import needs_chromium, started

pytestmark = [
    pytest.mark.integration,
    pytest.mark.flow,
    pytest.mark.slow,
    needs_chromium,
    pytest.mark.usefixtures("prefect_server"),
]
FINISHED = """
stages:
  measure:
    cmd: python measure.py
    deps: [measure.py]
    plots: [plots]
    metrics: [report/metrics.json: {cache: false}]
"""
MEASURE = """
import json, pathlib
from PIL import Image
for name in ("report", "plots"):
    pathlib.Path(name).mkdir(exist_ok=True)
pathlib.Path("report/metrics.json").write_text(json.dumps({"mcc": 0.875}))
Image.new("RGB", (640, 40), "orange").save("plots/pr_curve.png")
"""


def read_page(state: Any, tab: str, expected: str) -> tuple[str, list[str], bool]:
    """The text of a tab of a run's page, what it asked other hosts for, and whether all its pictures show."""
    from prefect.settings import PREFECT_API_URL

    base = str(PREFECT_API_URL.value()).removesuffix("/api")
    asked: list[str] = []
    with started() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{base}/runs/flow-run/{state.state_details.flow_run_id}?tab={tab}")
        page.get_by_text(expected, exact=False).first.wait_for(timeout=60_000)
        shown = page.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
        text = page.locator("body").inner_text()
    return text, [url for url in asked if not url.startswith((base, "data:", "blob:"))], shown


def test_a_finished_run(dvc_repository: Callable[[str], Path]) -> None:
    folder = dvc_repository(FINISHED)
    (folder / "measure.py").write_text(MEASURE, encoding="utf-8")
    state = run(folder)
    assert state.is_completed(), state.message
    text, elsewhere, shown = read_page(state, "Artifacts", "measure-pr-curve")
    assert "Completed" in text
    assert "measure-metrics" in text
    assert shown
    assert elsewhere == []


def test_a_failed_run(dvc_repository: Callable[[str], Path]) -> None:
    state = run(dvc_repository(FAILING))
    assert state.is_failed()
    text, elsewhere, _ = read_page(state, "Logs", "no disk left")
    assert "Failed" in text
    # which stage, and what DVC said
    assert "bad" in text
    assert elsewhere == []
