"""The night's run on a real Prefect server and a real DVC repository: what fails leaves the inbox as it was.

The choosing itself is replaced by one that takes every candidate: tests of `tasks.mining` run it for real.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from cascade.inbox.store import CONTROL, HARD, entries, save
from flows import mine_daily as module
from flows.mine_daily import MiningError, MiningSources, mine_daily, turn
from tasks.config import MineParams
from tasks.data.batches import finished_batch
from tasks.mining import batch as batches
from tasks.mining.mine import mine as real_mine
from tasks.mining.sources import Candidate
from tests.support import tiny
from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.flow, pytest.mark.usefixtures("prefect_server")]
DAY = datetime.date(2026, 11, 22)
BATCH = Path("data/hard_cases/2026-11-22")
INBOX = Path("var/inbox")


def picture(number: int) -> bytes:
    return tiny.encoded(tiny.street((number * 6 % 256, 60, 200), size=(64, 48)))


def take_all(_: MineParams, candidates: Iterable[Candidate], *, batch: Path, date: str, **__: Any) -> dict[str, Any]:
    """What `tasks.mining.mine.mine` does, without choosing: a finished batch is returned, another one written."""
    if (finished := finished_batch(batch)) is not None:
        return dict(finished["counts"])
    facts = {"reason": "inbox", "probability": 0.5}
    mined = [batches.MinedImage(one.data, one.place, one.slices, {**facts, "name": one.name}) for one in candidates]
    batches.write(batch, mined, {"date": date, "counts": {"chosen": len(mined)}})
    return {"chosen": len(mined)}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with parameters, DVC and an inbox of two hard pictures, one of the random slice and a damaged one."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["inbox"]["retrain"]["batch_pictures"] = 3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True, capture_output=True
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tasks.mining.mine.mine", take_all)
    for number, share in ((1, HARD), (2, HARD), (3, CONTROL), (4, HARD)):
        save(INBOX, share, picture(number), {"reason": "uncertain", "probability": 0.5, "release": "r1"})
    list(entries(INBOX))[-1].path.with_suffix(".jpg").write_bytes(b"damaged")
    return tmp_path


def kept() -> list[tuple[str, str]]:
    return sorted((one.share, one.sha256) for one in entries(INBOX))


def artifacts(state: Any) -> dict[str, str]:
    """The artifacts of a flow run by key."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    async def ask() -> dict[str, str]:
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
        async with get_client() as client:
            return {str(one.key): str(one.data) for one in await client.read_artifacts(flow_run_filter=mine)}

    return asyncio.run(ask())


@pytest.mark.slow
def test_a_database_that_is_down_fails_the_run_and_keeps_the_inbox(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real `mine`, and an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params["stores"]["mongodb"] = f"mongodb://127.0.0.1:{port}"
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    monkeypatch.setattr("tasks.mining.mine.mine", real_mine)
    before = kept()
    state = mine_daily(DAY, return_state=True)
    assert state.is_failed()
    assert f"does not answer at mongodb://127.0.0.1:{port}" in str(state.message)
    assert kept() == before
    assert not BATCH.exists()


def test_a_run_that_dies_while_choosing_keeps_the_inbox(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(_: MineParams, candidates: Iterable[Candidate], **__: Any) -> None:
        list(candidates)
        raise RuntimeError("out of memory")

    before = kept()
    monkeypatch.setattr("tasks.mining.mine.mine", dies)
    assert mine_daily(DAY, return_state=True).is_failed()
    assert kept() == before


def test_one_at_a_time(project: Path) -> None:
    with turn(), pytest.raises(MiningError, match=r"it holds var/mine\.lock"), turn():
        pass
    Path("var").mkdir(exist_ok=True)
    with FileLock("var/mine.lock"):
        state = mine_daily(DAY, return_state=True)
    assert state.is_failed()
    assert "another mining run is at work" in str(state.message)
    assert "last_failure_timestamp_seconds" in Path("var/metrics/flow_mine_daily_failure.prom").read_text()
    assert not Path("var/metrics/flow_mine_daily.prom").exists()
    assert not BATCH.exists()


def test_a_night_and_the_same_night_again(project: Path) -> None:
    before = kept()
    first = mine_daily(DAY, return_state=True)
    assert first.is_completed(), first.message
    manifest = json.loads((BATCH / "manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["pictures"]) == 3
    assert Path(f"{BATCH}.dvc").is_file()
    content = {path.name: path.read_bytes() for path in BATCH.iterdir()}

    # hard pictures of the batch have left; the random slice and what is damaged stay
    assert kept() == [one for one in before if one[0] == CONTROL or one[1] not in manifest["pictures"]]
    assert len(kept()) == 2

    shown = artifacts(first)
    assert {"mine-daily-counts", "mine-daily-pictures", "mine-daily-sheet", "mine-daily-quarantine"} <= shown.keys()
    assert "data:image/png;base64," in shown["mine-daily-sheet"]
    assert "damaged" in shown["mine-daily-quarantine"]
    assert "batch_pictures" in shown["mine-daily-signals"]
    assert list(json.loads(Path("var/drift/requested.json").read_text(encoding="utf-8"))) == ["2026-11-22"]

    # hooks of the flow left its series
    assert 'last_success_timestamp_seconds{flow="mine-daily"}' in Path("var/metrics/flow_mine_daily.prom").read_text()
    assert 'mined_total{reason="inbox"} 3.0' in Path("var/metrics/pipeline.prom").read_text()

    # the same night again, with more in the inbox: the batch stays, and the new picture waits for the next one
    save(INBOX, HARD, picture(9), {"reason": "uncertain", "probability": 0.5})
    assert mine_daily(DAY, return_state=True).is_completed()
    assert {path.name: path.read_bytes() for path in BATCH.iterdir()} == content
    assert len(kept()) == 3

    # the next night takes what is new, and nothing twice: the random slice was mined already
    assert mine_daily(DAY + datetime.timedelta(days=1), return_state=True).is_completed()
    second = json.loads(Path("data/hard_cases/2026-11-23/manifest.json").read_text(encoding="utf-8"))
    assert len(second["pictures"]) == 1
    assert not second["pictures"].keys() & manifest["pictures"].keys()

    # and a night without anything new makes no batch
    empty = mine_daily(DAY + datetime.timedelta(days=2), return_state=True)
    assert empty.is_completed()
    assert not Path("data/hard_cases/2026-11-24").exists()


@pytest.mark.slow
def test_a_run_cut_short_is_finished_by_the_next_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the manifest: not under DVC yet, the inbox still full."""
    before = kept()
    with monkeypatch.context() as patch:
        patch.setattr(module, "track", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            mine_daily(DAY)
    assert (BATCH / "manifest.json").is_file()
    assert kept() == before
    assert mine_daily(DAY, return_state=True).is_completed()
    assert Path(f"{BATCH}.dvc").is_file()
    assert len(kept()) == 2


@pytest.mark.slow
def test_a_batch_that_somebody_changed_is_not_taken(project: Path) -> None:
    assert mine_daily(DAY, return_state=True).is_completed()
    (BATCH / "sheet.jpg").write_bytes(b"other")
    before = kept()
    state = mine_daily(DAY, return_state=True)
    assert state.is_failed()
    assert "sheet.jpg" in str(state.message)
    assert kept() == before


def test_a_source_that_is_missing_is_said(project: Path) -> None:
    state = mine_daily(DAY, MiningSources(videos=[Path("no/clip.mp4")]), return_state=True)
    assert state.is_failed()
    assert "no/clip.mp4: no such file to mine" in str(state.message)
