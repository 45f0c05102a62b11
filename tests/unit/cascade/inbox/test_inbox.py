"""The inbox: it keeps what it should, no more than it may, and an answer never suffers for it."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cascade.config import InboxParams
from cascade.core.cascade import Prediction
from cascade.inbox import inbox as module
from cascade.inbox.inbox import Inbox, is_control, trace, why
from cascade.inbox.store import CONTROL, HARD, InboxError, entries, expire, forget, save, trim, usage
from cascade.release.store import Exits
from cascade.stages.base import StageResult
from tests.support import bad_images, tiny

LIMITS = {"max_pixels": 1_000_000, "min_side": 32}


def params(folder: Path, **changes: Any) -> InboxParams:
    given = {
        "enabled": True, "folder": folder, "uncertain_low": 0.3, "uncertain_high": 0.7, "disagreement": 0.5,
        "control_rate": 0.0, "max_pictures": 100, "max_bytes": 10_000_000, "control_part": 0.5, "keep_days": 30,
        "retrain": {"batch_pictures": 10, "new_labels": 10},
    }  # fmt: skip
    return InboxParams.model_validate({**given, **changes})


def answer(probability: float = 0.5, *stages: float) -> Prediction:
    exits = Exits(high=0.88, low=0.12)
    seen = [
        StageResult(stage=f"s{index}", probability=value, exits=exits, verdict="undecided", milliseconds=1.0)
        for index, value in enumerate(stages or (probability,))
    ]
    return Prediction(
        probability=probability,
        label="roadwork" if probability > 0.5 else "clear",
        decided_by="s0",
        reason="the words read: B-JR 1234",
        stages=seen,
        milliseconds=1.0,
        release="r1",
    )


def picture(number: int) -> bytes:
    return tiny.encoded(tiny.street((number * 6 % 256, 60, 200), size=(64, 48)))


def filled(folder: Path, items: list[tuple[bytes, Prediction]], **changes: Any) -> Inbox:
    """An inbox that has been offered pictures, one a request, and has written them."""
    inbox = Inbox(params(folder, **changes), **LIMITS)
    for data, one in items:
        inbox.offer([data], [one])
    inbox.close(30)
    return inbox


@pytest.mark.parametrize("name", ["empty", "text"])
def test_a_picture_that_cannot_be_read_is_counted(tmp_path: Path, name: str) -> None:
    data = {"empty": b"", "text": b"no picture"}[name]
    assert filled(tmp_path / "inbox", [(data, answer())]).counts == {"refused": 1}


def test_a_disk_that_refuses_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("where the inbox should be")
    inbox = filled(tmp_path / "file", [(picture(1), answer()), (picture(2), answer())])
    assert inbox.counts == {"failed": 2}
    assert len(caplog.records) == 1, "a full disk must not fill the log"


def test_an_offer_never_raises(tmp_path: Path) -> None:
    inbox = Inbox(params(tmp_path / "inbox"), **LIMITS)
    inbox.offer([picture(1), picture(2)], [answer()])
    inbox.offer([None], [None])  # type: ignore[list-item]
    inbox.close(30)


def test_a_writer_that_hangs_makes_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what the queue holds, by count or by bytes, pictures are dropped and memory stays bounded."""
    gate = threading.Event()
    monkeypatch.setattr(module, "save", lambda *_: gate.wait(60))
    monkeypatch.setattr(module, "QUEUE_BYTES", 10_000)
    inbox = Inbox(params(tmp_path / "inbox"), **LIMITS)
    data = picture(1)
    for _ in range(100):
        inbox.offer([data], [answer()])
    held = 10_000 // len(data)
    assert inbox.counts["dropped"] == 100 - held
    gate.set()
    inbox.close(30)
    assert sum(inbox.counts.values()) == 100


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (answer(0.29), None),
        # both ends belong to the band
        (answer(0.3), "uncertain"),
        (answer(0.7), "uncertain"),
        (answer(0.71), None),
        # sure in the end, but the stages did not agree
        (answer(0.95, 0.4, 0.95), "disagreement"),
        # far apart, but on the same side
        (answer(0.95, 0.5001, 1.0), None),
        # on different sides, but close
        (answer(0.9, 0.49, 0.9), None),
        (answer(0.01, 0.9, 0.2, 0.01), "disagreement"),
    ],
)
def test_why_a_picture_is_kept(tmp_path: Path, one: Prediction, reason: str | None) -> None:
    assert why(one, params(tmp_path)) == reason


def test_control_is_a_matter_of_content(tmp_path: Path) -> None:
    chosen = [is_control(str(number).encode(), 0.1) for number in range(5000)]
    assert chosen == [is_control(str(number).encode(), 0.1) for number in range(5000)]
    assert 400 < sum(chosen) < 600
    assert not any(is_control(str(number).encode(), 0.0) for number in range(100))
    assert all(is_control(str(number).encode(), 1.0) for number in range(100))


def test_what_is_kept_and_who_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "var" / "inbox"
    sure = answer(0.99)
    inbox = filled(folder, [(picture(1), answer(0.6)), (picture(2), sure), (picture(1), answer(0.6))])
    assert inbox.counts == {"kept": 1, "passed": 1, "duplicate": 1}
    (entry,) = entries(folder)
    data, seen = entry.load()
    assert (entry.share, seen["reason"], seen["probability"], seen["sha256"]) == (HARD, "uncertain", 0.6, entry.sha256)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / HARD, *(folder / HARD).iterdir())
    }
    assert {modes.pop("inbox"), modes.pop(HARD)} == {0o700}
    assert set(modes.values()) == {0o600}
    assert data[:2] == b"\xff\xd8"


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    save(folder, HARD, picture(1), {})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_that_was_read_in_a_picture_is_kept() -> None:
    assert "1234" not in json.dumps(trace(answer(), "uncertain"))


def test_the_control_slice_has_a_share_of_its_own(tmp_path: Path) -> None:
    """A flood of uncertain pictures pushes out older uncertain ones, never the random slice."""
    folder = tmp_path / "inbox"
    control = filled(folder, [(picture(1), answer(0.99)), (picture(2), answer(0.5))], control_rate=1.0)
    assert control.counts == {"kept": 2}
    flood = filled(folder, [(picture(number), answer()) for number in range(10, 40)], max_pictures=20)
    assert flood.counts == {"kept": 30}
    assert usage(folder, CONTROL)[0] == 2
    assert 9 <= usage(folder, HARD)[0] <= 10
    reasons = {entry.trace()["reason"] for entry in entries(folder) if entry.share == CONTROL}
    assert reasons == {"control", "uncertain"}, "a control picture tells why else it is of interest"


@pytest.mark.parametrize("limit", [{"max_pictures": 10}, {"max_bytes": 10_000}])
def test_the_oldest_go_first(tmp_path: Path, limit: dict[str, int]) -> None:
    for number in range(20):
        save(tmp_path, HARD, picture(number), {})
        for path in (tmp_path / HARD).iterdir():
            if path.stat().st_mtime > 10_000:
                os.utime(path, (number, number))
    trim(tmp_path, HARD, **{"max_pictures": 1000, "max_bytes": 10**9, **limit})
    kept, size = usage(tmp_path, HARD)
    assert 0 < kept <= 10 if "max_pictures" in limit else 0 < size <= 10_000
    times = {int(entry.path.stat().st_mtime) for entry in entries(tmp_path)}
    assert times == set(range(20 - len(times), 20))


def test_a_picture_larger_than_its_share_is_refused(tmp_path: Path) -> None:
    inbox = filled(tmp_path / "inbox", [(picture(1), answer())], max_bytes=100)
    assert inbox.counts == {"refused": 1}


def test_old_pictures_and_orphans_are_removed(tmp_path: Path) -> None:
    save(tmp_path, HARD, picture(1), {})
    save(tmp_path, CONTROL, picture(2), {})
    orphan = tmp_path / HARD / f"{'0' * 64}.jpg"
    partial = tmp_path / HARD / f".{'1' * 64}.jpg.7.partial"
    for path in (orphan, partial):
        path.write_bytes(b"half")
    week = time.time() - 7 * 86400
    for path in (orphan, partial, *(tmp_path / HARD).glob("*.json"), *(tmp_path / HARD).glob("*.jpg")):
        os.utime(path, (week, week))
    assert expire(tmp_path, 8) == 0
    assert {path.suffix for path in (tmp_path / HARD).iterdir()} == {".jpg", ".json"}
    assert not orphan.exists()
    assert expire(tmp_path, 6) == 1
    assert [entry.share for entry in entries(tmp_path)] == [CONTROL]


def test_forget_takes_what_is_there(tmp_path: Path) -> None:
    save(tmp_path, HARD, picture(1), {})
    save(tmp_path, CONTROL, picture(2), {})
    control, hard = [entry.sha256 for entry in entries(tmp_path)]
    assert forget(tmp_path, [control, hard, "f" * 64]) == 1
    assert [entry.sha256 for entry in entries(tmp_path)] == [control], "drift is measured on the whole random slice"
    assert forget(tmp_path / "nowhere", [hard]) == 0


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [(".jpg", b"other bytes", "digest"), (".json", b"{", "not JSON"), (".json", b"[1]", "no JSON object")],
)
def test_damage_is_said(tmp_path: Path, suffix: str, content: bytes, message: str) -> None:
    save(tmp_path, HARD, picture(1), {})
    (entry,) = entries(tmp_path)
    entry.path.with_suffix(suffix).write_bytes(content)
    with pytest.raises(InboxError, match=message):
        entry.load()


def test_metadata_does_not_reach_the_disk(tmp_path: Path) -> None:
    filled(tmp_path / "inbox", [(tiny.sideways(tiny.street(tiny.ORANGE)), answer())])
    (entry,) = entries(tmp_path / "inbox")
    assert b"Exif" not in entry.load()[0]


def test_the_band_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uncertain_low lies above uncertain_high"):
        params(tmp_path, uncertain_low=0.8)


def test_bad_images_never_get_in(tmp_path: Path) -> None:
    """Those that the service refuses never reach the inbox; if one did, it would be counted and no more."""
    items = [(case[0], answer()) for case in bad_images.BAD.values()]
    inbox = filled(tmp_path / "inbox", items)
    assert inbox.counts["failed"] == 0
