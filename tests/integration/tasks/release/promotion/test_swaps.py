"""Promotions and rollbacks under load, several doors at once, and what keeps a promotion from beginning."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cascade.api.process import running, status
from cascade.release.store import Release, ReleaseError
from deploy.nginx import front as nginx
from deploy.nginx.front import FrontError
from tasks.release import ledger
from tasks.release.promotion.doors import RollbackError
from tasks.release.promotion.plan import plan_rollback
from tasks.release.promotion.preflight import PreflightError
from tasks.release.promotion.watch import WatchError
from tasks.release.tracking import RegisterError
from tests.support import promotion
from tests.support.faults import promote_with_fault, start_child
from tests.support.nginx import needs_nginx
from tests.support.promotion import build, clients, leftovers, make_project, rollback, standing

pytestmark = [pytest.mark.integration, needs_nginx]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[tuple[Release, Release]]:
    """Two releases in a folder of their own, which is the current one; the first one is live."""
    folder, before = make_project(tmp_path_factory.mktemp("swaps"), mlflow_database), Path.cwd()
    os.chdir(folder)
    releases = build(0.8), build(0.9)
    promotion.promote(releases[0])
    yield releases
    promotion.stop_all()
    os.chdir(before)


@pytest.fixture
def settings() -> Iterator[Any]:
    """Change parameters of the current folder for one test."""
    file = Path("params.yaml")
    text = file.read_text(encoding="utf-8")

    def change(**sections: dict[str, Any]) -> None:
        document = yaml.safe_load(text)
        for name, values in sections.items():
            document[name] = {**document[name], **values}
        file.write_text(yaml.safe_dump(document), encoding="utf-8")

    yield change
    file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ({"promotion": {"min_free_gib": 10_000_000}}, PreflightError, "GiB are free"),
        # `nginx -t` says which file is missing
        (
            {"promotion": {"nginx": {"certificate": "/no/file.pem", "certificate_key": "/no/key.pem"}}},
            FrontError,
            "/no/file.pem",
        ),
        ({"stores": {"mlflow": "sqlite:////proc/no/mlflow.db"}}, RegisterError, "MLflow|/proc/no"),
        # slower than it may be, seen after the switch: the old release takes over again
        (
            {"promotion": {"watch": {"golden": 2, "seconds": 0.3, "min_requests": 2, "max_p95_seconds": 0.0001}}},
            WatchError,
            "max_p95_seconds",
        ),
    ],
)
def test_what_is_wrong_leaves_the_live_release(
    releases: tuple[Release, Release], settings: Any, sections: Any, error: type[Exception], message: str
) -> None:
    one, two = releases
    settings(
        **{name: ({**promotion.PROMOTION, **new} if name == "promotion" else new) for name, new in sections.items()}
    )
    with pytest.raises(error, match=message):
        promotion.promote(two)
    settings()
    assert standing().is_(one.id)
    assert leftovers(warm=[two.id] if error is not WatchError else []) == []


def test_no_images_no_promotion(releases: tuple[Release, Release]) -> None:
    challenge = Path("data/pulled/challenge.parquet")
    away = challenge.rename(challenge.with_suffix(".away"))
    with pytest.raises(PreflightError, match="no images to test"):
        promotion.promote(releases[1])
    away.rename(challenge)
    assert standing().is_(releases[0].id)


def test_a_tampered_release_is_refused(releases: tuple[Release, Release]) -> None:
    file = releases[1].folder / "contract.json"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"32", b"33"))
    with pytest.raises(ReleaseError, match="altered"):
        promotion.promote(promotion.load(releases[1].id))
    file.write_bytes(whole)
    assert standing().is_(releases[0].id)


def test_swaps_under_load_lose_no_request(releases: tuple[Release, Release], settings: Any) -> None:
    one, two = releases
    live = status()
    assert live is not None
    assert live.url == f"http://127.0.0.1:{nginx.choose_port('127.0.0.1', 0)}"
    canary = {"steps": [30, 100], "seconds": 0.5, "max_latency_ratio": 50}
    settings(promotion={**promotion.PROMOTION, "canary": canary, "shadow_seconds": 0.5})
    said: list[str] = []
    with clients(live.url, 3, pause=0.02) as seen:
        promotion.promote(two, why="better", say=said.append)
        promoted, warm = time.monotonic(), {found.pid for found in running()}
        assert "its service is warm" in "\n".join(plan_rollback(promotion.load_params(), None))
        rollback()
        back = time.monotonic()
        time.sleep(0.3)
    assert seen.failed == []
    answered = {release for begin, _, _, release in seen.answers if promoted < begin}
    assert {release for begin, _, _, release in seen.answers if begin > back} == {one.id}
    assert answered <= {one.id, two.id}
    after = status()
    assert after is not None
    assert after.pid == live.pid, "a rollback to a warm service starts none"
    assert {found.pid for found in running()} == warm
    assert standing().is_(one.id)
    assert leftovers(warm=[two.id]) == []
    assert [line for line in said if line.startswith(("shadow, release", "canary"))] != []
    last, before = ledger.read()[-1], ledger.read()[-2]
    assert (before.action, before.who, before.why, before.release, before.target) == (
        *("promote", "ada", "better", two.id, one.id),
    )
    assert before.gate is not None
    assert (last.action, last.who, last.release, last.previous, last.target) == (
        "rollback",
        "bob",
        one.id,
        two.id,
        None,
    )
    with pytest.raises(RollbackError, match="names no release"):
        rollback()


@pytest.mark.slow
def test_several_doors_at_once_take_turns(releases: tuple[Release, Release]) -> None:
    """Two runs and a promotion by hand, for both releases: one after the other, and all parts agree in the end."""
    one, two = releases
    before = len(ledger.read())
    live = status()
    assert live is not None
    with clients(live.url, 2, pause=0.05) as seen:
        children = [start_child(promote_with_fault, two.id, one.id, "", "") for _ in range(2)]
        promotion.promote(one, say=print)
        for child in children:
            child.join(120)
        assert [child.exitcode for child in children] == [0, 0]
    assert seen.failed == []
    assert standing().is_(ledger.read()[-1].release)
    # the second run of the same release finds it live already, unless the one by hand came between them
    assert 1 <= len(ledger.read()) - before <= 3
    assert len({one.pid for one in running()}) <= 2
    assert not Path("var/release.lock.json").exists()
