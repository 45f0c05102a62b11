"""The pages of Prefect's UI in Chromium: what a person reads of a finished run, and of a failed one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from cascade.process.ready import answers, free_port
from cascade.process.supervisor import Supervised
from flows.server import parts
from tests.integration.flows.test_retrain import FAILING, run
from tests.support.browser import needs_chromium, started
from tests.support.up import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.flow,
    pytest.mark.slow,
    needs_chromium,
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server as `make ui` starts it, at a port of its own; the one that tests share has no pages."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    folder, port = tmp_path_factory.mktemp("server"), free_port()
    api = parts.prefect_api(port)
    env = {**os.environ, "PREFECT_HOME": str(folder)}
    with (
        Supervised(parts.prefect_server(port), cwd=folder, env=env, log=folder / "log"),
        temporary_settings({PREFECT_API_URL: api}),
    ):
        wait_for(lambda: answers(f"{api}/health"), 120)
        yield api.removesuffix("/api")


def read_page(base: str, state: Any, tab: str, expected: str) -> tuple[str, list[str]]:
    """The text of a tab of a run's page, and what it asked other hosts for."""
    from playwright.sync_api import Error as PlaywrightError

    asked: list[str] = []
    with started() as browser:
        # the list shows what is on the screen
        page = browser.new_page(viewport={"width": 1280, "height": 2000})
        page.on("request", lambda request: asked.append(request.url))
        # the server takes in what a run sends some seconds later, and a finished run's page asks once
        for _ in range(10):
            page.goto(f"{base}/runs/flow-run/{state.state_details.flow_run_id}")
            page.get_by_text(tab, exact=True).first.click()
            with suppress(PlaywrightError):
                page.get_by_text(expected, exact=False).first.wait_for(timeout=5_000)
                break
        text = page.locator("body").inner_text()
    return text, [url for url in asked if not url.startswith((base, "data:", "blob:"))]


def test_a_finished_run(server: str, dvc_repository: Callable[[str], Path]) -> None:
    folder = dvc_repository(FINISHED)
    (folder / "measure.py").write_text(MEASURE, encoding="utf-8")
    state = run(folder)
    assert state.is_completed(), state.message
    text, elsewhere = read_page(server, state, "Artifacts", "measure-pr-curve")
    assert "Completed" in text
    assert {"measure-metrics", "measure-pr-curve"} <= set(text.split())
    assert elsewhere == []
    asked = {"artifacts": {"key": {"any_": ["measure-pr-curve"]}}}
    [artifact] = httpx.post(f"{server}/api/artifacts/filter", json=asked).json()
    with started() as browser:
        page = browser.new_page()
        page.goto(f"{server}/artifacts/artifact/{artifact['id']}")
        picture = page.locator("img[src^='data:image/png']").first
        picture.wait_for()
        assert picture.evaluate("(one) => one.complete && one.naturalWidth") == 640


def test_a_failed_run(server: str, dvc_repository: Callable[[str], Path]) -> None:
    state = run(dvc_repository(FAILING))
    assert state.is_failed()
    text, elsewhere = read_page(server, state, "Logs", "no disk left")
    assert "Failed" in text
    assert "no disk left" in text
    # which stage, and what DVC said
    assert "bad" in text
    assert elsewhere == []
