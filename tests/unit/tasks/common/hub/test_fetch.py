"""Fetching a snapshot without a Hub: what is there is taken, and what would fill the disk is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.common.hub import HubError, Snapshot, UnreachableError, fetch_snapshot
from tasks.common.hub.fetch import check_space


def snapshot(folder: Path) -> Snapshot:
    return Snapshot("some/model", "a" * 40, folder=folder, patterns=("*.safetensors",))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_what_is_there_is_taken_where_the_hub_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    assert fetch_snapshot(snapshot(tmp_path / "model")) == tmp_path / "model"


def test_nothing_there_and_no_hub_is_an_error_that_names_the_snapshot(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"some/model@aaaaaaaaaaaa: no request is made"):
        fetch_snapshot(snapshot(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_a_download_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    check_space(snapshot(tmp_path / "model"), 1)
    with pytest.raises(HubError, match=r"GiB and 1 GiB to spare are needed"):
        check_space(snapshot(tmp_path / "model"), 1 << 60)
