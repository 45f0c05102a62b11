"""Whatever dies at whatever step: afterwards, or at the latest after the next run, all parts name one live release."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cascade.api.process import status
from cascade.release.store import Release
from tests.support import promotion
from tests.support.faults import STEPS, promote_with_fault, run_child
from tests.support.nginx import needs_nginx
from tests.support.promotion import Standing, build, leftovers, make_project, standing, warm_releases

pytestmark = [pytest.mark.integration, needs_nginx]

QUICK = [
    # the run itself, between the switch and the line in the ledger
    ("alias:done", "flow"),
]
# what `make slow` has time for
FURTHER = [
    # the run itself: before the switch, after it, after the line in the ledger
    ("green:done", "flow"),
    ("switch:done", "flow"),
    ("ledger:done", "flow"),
    # the new service while it is watched
    ("switch:done", "green"),
    # nginx with its workers
    ("switch:done", "workers"),
    # the old service, before the new one is compared with it
    ("green:done", "blue"),
    # no room for a further line of the journal, when all but the aliases has been changed, and when all is done
    ("pointer:done", "disk"),
    ("ledger:done", "disk"),
]
# FAULT_MATRIX=all: each part at each step, some minutes
VICTIMS = ("flow", "green", "blue", "nginx", "workers", "disk")
ALL = [(f"{step}:{state}", victim) for step in STEPS for state in ("begin", "done") for victim in VICTIMS]
CASES = (
    ALL
    if os.environ.get("FAULT_MATRIX") == "all"
    else [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in FURTHER)]
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[Path]:
    """A folder with two releases, the first of them live."""
    folder, before = make_project(tmp_path_factory.mktemp("faults"), mlflow_database), Path.cwd()
    os.chdir(folder)
    yield folder
    promotion.stop_all()
    os.chdir(before)


@pytest.fixture(scope="module")
def releases(project: Path) -> tuple[Release, Release]:
    """Two releases; the first one is live."""
    one, two = build(0.8), build(0.9)
    promotion.promote(one)
    return one, two


@pytest.mark.parametrize(("at", "victim"), CASES)
def test_a_fault_leaves_one_live_release(releases: tuple[Release, Release], at: str, victim: str) -> None:
    live = standing().pointer
    old, new = releases if live == releases[0].id else releases[::-1]
    before = warm_releases()
    code = run_child(promote_with_fault, new.id, old.id, at, victim)
    assert code == {"flow": -9}.get(victim, code)
    if victim in ("flow", "disk"):
        # before anybody repairs anything
        assert answering() in (old.id, new.id)
    if code == 1:
        assert standing().is_(old.id), "a failure that was seen puts all back at once"
    # the next run: the ledger says who is live
    after = standing().ledger
    assert after == (new.id if (victim == "flow" and at == "ledger:done") or code == 0 else old.id)
    promotion.promote(new if after == new.id else old)
    assert standing().is_(after)
    assert answering() == after
    # one that the case before left warm, and that this one did not come to, still is
    assert leftovers(warm=[old.id] if code == 0 else before & warm_releases()) == []


def answering() -> str:
    """The release that a request gets."""
    live = status()
    assert live is not None
    files = [("files", ("a.jpg", promotion.pictures()[0][0], "image/jpeg"))]
    answer = httpx.post(f"{live.url}/v1/predict", files=files, timeout=30, trust_env=False)
    return str(answer.json()["results"][0]["release"])


@pytest.mark.slow
def test_a_first_promotion_that_fails_leaves_nothing(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_project(tmp_path, mlflow_database))
    release = build(0.8)
    assert run_child(promote_with_fault, release.id, "", "pointer:done", "disk") == 1
    assert standing() == Standing(None, None, None, None, None)
    assert leftovers() == []
    promotion.stop_all()
