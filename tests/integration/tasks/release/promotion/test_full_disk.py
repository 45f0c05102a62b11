"""A promotion whose disk is full from the start, or fills up on the way: the old release answers all the time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade.release.store import Release
from tests.integration.tasks.release.promotion.test_faults import answering
from tests.support import promotion
from tests.support.disk import filled, small_disk
from tests.support.faults import promote_on_full_disk, run_child
from tests.support.nginx import needs_nginx
from tests.support.promotion import build, leftovers, make_project, standing

pytestmark = [pytest.mark.integration, pytest.mark.slow, needs_nginx]
PAGE = 4096
ENOUGH = 4096  # pages with which a promotion comes through


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[Path]:
    """A project on a disk of its own."""
    before, folder = Path.cwd(), tmp_path_factory.mktemp("disk") / "project"
    with small_disk(folder, "256m") as mounted:
        if not mounted:
            pytest.skip("only root may mount a small disk")
        os.chdir(make_project(folder, mlflow_database))
        yield folder
        promotion.stop_all()
        os.chdir(before)


@pytest.fixture(scope="module")
def releases(disk: Path) -> tuple[Release, Release]:
    """Two releases; the first one is live."""
    one, two = build(0.8), build(0.9)
    promotion.promote(one)
    return one, two


@pytest.mark.parametrize(
    "pages",
    [
        0,  # not a byte
        2,  # for the gate's report, and not for MLflow's database
        4,
        6,
        8,
        12,
        ENOUGH,
    ],
)
def test_a_full_disk_leaves_one_live_release(releases: tuple[Release, Release], disk: Path, pages: int) -> None:
    live = standing().pointer
    old, new = releases if live == releases[0].id else releases[::-1]
    with filled(disk, pages * PAGE):
        code = run_child(promote_on_full_disk, new.id)
        assert code in (0, 1)
        assert answering() == (old.id if code else new.id)
    said = (disk / "var/child.log").read_text(encoding="utf-8")[-2000:]
    assert code == {0: 1, ENOUGH: 0}.get(pages, code), said
    after = standing().ledger
    assert after == (old.id if code else new.id)
    # the same command once there is room
    promotion.promote(new)
    assert standing().is_(new.id)
    assert answering() == new.id
    assert leftovers(warm=[old.id]) == []
    assert shutil.disk_usage(disk).free > 0
