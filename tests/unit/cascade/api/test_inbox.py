"""The service's hook: what it keeps, and that no answer depends on it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cascade.api.app import create_app
from cascade.inbox.store import entries
from cascade.release.store import Release
from tests.support import tiny
from tests.unit.cascade.api.test_app import wait_until_ready
from tests.unit.cascade.inbox.test_inbox import params

ORANGE, BLUE = tiny.encoded(tiny.street(tiny.ORANGE)), tiny.encoded(tiny.street(tiny.BLUE))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny.write_release(tmp_path_factory.mktemp("root"))


def ask(release: Release, folder: Path | None, **changes: object) -> list[int]:
    """Ask for a good request, a bad one and one as JSON, and give the status of each."""
    # every answer of the tiny classifier is a sure one
    wide = {"uncertain_low": 0.0, "uncertain_high": 1.0, **changes}
    app = create_app(release, tiny.runtime_params(inbox=params(folder, **wide) if folder else None))
    with TestClient(app) as client:
        wait_until_ready(client)
        files = [("files", (name, data)) for name, data in (("Jane Roe's street.jpg", ORANGE), ("b.jpg", BLUE))]
        return [
            client.post("/v1/predict", files=files).status_code,
            client.post("/v1/predict", files=[("files", ("x.jpg", b"no picture"))]).status_code,
            client.post("/v1/predict", json={"image": base64.b64encode(BLUE).decode()}).status_code,
        ]


def test_a_broken_inbox_changes_no_answer(release: Release, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where the inbox should be")
    assert ask(release, tmp_path / "file") == ask(release, None)


def test_pictures_are_kept_with_their_own_answers_and_nothing_of_the_caller(release: Release, tmp_path: Path) -> None:
    assert ask(release, tmp_path / "inbox")[::2] == [200, 200]
    kept = list(entries(tmp_path / "inbox"))
    assert {one.trace()["label"] for one in kept} == {"roadwork", "clear"}
    assert {one.trace()["release"] for one in kept} == {release.id}
    assert len(kept) == 2, "the picture that came twice lies there once"
    assert not any(b"Jane" in path.read_bytes() for path in (tmp_path / "inbox").rglob("*") if path.is_file())


def test_switched_off_it_keeps_nothing(release: Release, tmp_path: Path) -> None:
    ask(release, tmp_path / "inbox", enabled=False)
    assert not (tmp_path / "inbox").exists()


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("no-store", 0),
        # directives are a list, in any case
        ("max-age=0, No-Store", 0),
        # another directive, and a word that only begins like it
        ("no-cache", 1),
        ("no-storehouse", 1),
    ],
)
def test_a_request_may_ask_that_nothing_is_kept(release: Release, tmp_path: Path, header: str, kept: int) -> None:
    wide = params(tmp_path / "inbox", uncertain_low=0.0, uncertain_high=1.0)
    cache = {"folder": tmp_path / "cache", "max_bytes": 1_000_000}
    with TestClient(create_app(release, tiny.runtime_params(inbox=wide, cache=cache))) as client:
        wait_until_ready(client)
        asked = {"headers": {"Cache-Control": header}, "files": [("files", ("a.jpg", ORANGE))]}
        cached = [client.post("/v1/predict", **asked).json()["results"][0]["cached"] for _ in range(2)]
    assert cached == [False, bool(kept)]
    assert len(list(entries(tmp_path / "inbox"))) == kept
