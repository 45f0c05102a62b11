"""The documentation as a site: it builds with every link and heading checked, and needs no other host."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from cascade.api.app import create_app
from cascade.config import load_runtime_params
from tasks.tools.reference.command_line import command_line_page
from tasks.tools.reference.http_api import http_api_page
from tasks.tools.reference.parameters import parameters_page
from tasks.tools.reference.series import series_page
from tests.support import tiny
from tests.support.browser import needs_chromium, started
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    # strict: a link or heading that is not there is an error
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    pages = [page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md") if page.name != "README.md"]
    assert [page for page in pages if not (site / page).with_suffix(".html").is_file()] == []
    assert (site / "quickstart.html").is_file()
    assert len(json.loads((site / "search/search_index.json").read_text())["docs"]) > len(pages)


@needs_chromium
@pytest.mark.slow
def test_pages_show_and_fetch_nothing_elsewhere(site: Path) -> None:
    asked: list[str] = []
    with started() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        assert page.locator(".md-tabs__item").all_inner_texts() == PARTS
        page.get_by_role("link", name="A first run").first.click()
        assert page.locator("h1").inner_text().startswith("A first run")
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_the_reference_is_that_of_the_code(tmp_path: Path) -> None:
    assert parameters_page(ROOT / "params.yaml") == (REFERENCE / "parameters.md").read_text(), AGAIN
    assert command_line_page() == (REFERENCE / "command-line.md").read_text(), AGAIN
    assert series_page() == (REFERENCE / "series.md").read_text(), AGAIN
    app = create_app(tiny.write_release(tmp_path), load_runtime_params(ROOT / "params.yaml"))
    document = TestClient(app).get("/openapi.json").json()
    assert http_api_page(document) == (REFERENCE / "http-api.md").read_text(), AGAIN


PARTS = ["Start", "Tutorial", "How-to", "Reference", "Explanation"]
AGAIN = "`python -m tasks.tools.reference --url http://127.0.0.1:8080` writes it again"
