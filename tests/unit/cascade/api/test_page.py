"""The page's files as the application serves them: open, the same for all, strict, and off where that is asked for."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from cascade.api.app import create_app
from cascade.api.auth import KEY_VARIABLE
from cascade.api.page.routes import FILES
from cascade.release.store import Release
from tests.support import tiny

NAMES = sorted(path.name for path in FILES.iterdir())
# what the policy would refuse in a browser, or what would leave this service
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|style=|\bon\w+=\"|<style|https?://(?!www\.w3\.org/)"
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny.write_release(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def client(release: Release) -> TestClient:
    return TestClient(create_app(release, tiny.runtime_params()))


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/page/page.css", "/openapi.json"])
def test_the_page_can_be_switched_off(release: Release, path: str) -> None:
    client = TestClient(create_app(release, tiny.runtime_params(serve={"page": False})))
    response = client.get(path)
    assert response.status_code == (200 if path == "/openapi.json" else 404)
    if response.status_code == 404:
        assert response.json()["error"]["reason"] == "not_found"


def test_with_a_key_the_page_is_open_and_says_nothing_of_the_service(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    client = TestClient(create_app(release, tiny.runtime_params()))
    for name in NAMES:
        assert client.get(f"/page/{name}").content == (FILES / name).read_bytes()
    assert client.get("/").content == (FILES / "index.html").read_bytes()
    assert client.get("/v1/release").status_code == 401


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in NAMES)])
def test_every_file_has_the_policy_and_is_asked_for_again(client: TestClient, path: str) -> None:
    response = client.get(path)
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    for rule in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"):
        assert rule in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    known = client.get(path, headers={"If-None-Match": response.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert known.headers["content-security-policy"] == policy
    assert client.head(path).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/page/nothing.js", 404),
        # a folder above, plain and encoded
        ("/page/../routes.py", 404),
        ("/page/%2e%2e/routes.py", 404),
        ("/page/..%2froutes.py", 404),
        ("/page/", 404),
    ],
)
def test_nothing_else_is_served(client: TestClient, path: str, status: int) -> None:
    response = client.get(path)
    assert (response.status_code, response.json()["error"]["reason"]) == (status, "not_found")
    assert client.post("/page/main.js").status_code == 405


@pytest.mark.parametrize("name", NAMES)
def test_files_hold_nothing_that_the_policy_forbids(name: str) -> None:
    text = (FILES / name).read_text(encoding="utf-8")
    assert FORBIDDEN.findall(text) == []
    assert [line for line in text.splitlines() if len(line) > 120] == []


def test_modules_load_only_modules_that_are_there() -> None:
    loaded = {name for path in FILES.glob("*.js") for name in re.findall(r'from "\./(.+?)"', path.read_text())}
    assert loaded | {"main.js"} == {path.name for path in FILES.glob("*.js")}
    index = (FILES / "index.html").read_text()
    others = {name for name in NAMES if not name.endswith((".js", ".html"))}
    assert set(re.findall(r'(?:href|src)="page/(.+?)"', index)) == others | {"main.js"}
