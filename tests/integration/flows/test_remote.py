"""DVC's remote: a run pushes what it made, to a real S3 too; one that refuses or is full is named."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.dvc import remote
from flows.dvc.remote import RemoteError, default_remote, pull_outputs, push_outputs
from tests.support.disk import small_disk
from tests.support.s3 import BUCKET, CREDENTIALS, WRONG_CREDENTIALS, ObjectStore

pytestmark = [pytest.mark.integration, pytest.mark.slow]
FILES = 80
# of a file: below a page of memory, as nanio 0.1.7 takes a write that a full disk has cut short for a whole one
TIMES = 1000
PIPELINE = """
stages:
  train:
    cmd: python -c "open('head.txt', 'w').write('weights')"
    outs: [head.txt]
  many:
    cmd: python many.py
    outs: [many]
"""
MANY = f"""
import os
os.mkdir("many")
for i in range({FILES}):
    open(f"many/{{i}}", "w").write(str(i) * {TIMES})
"""


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "s3") as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose stages have run, to copy."""
    folder = tmp_path_factory.mktemp("repository")
    dvc(folder, "init", "--no-scm", "--quiet")
    (folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (folder / "many.py").write_text(MANY, encoding="utf-8")
    dvc(folder, "repro", "--quiet")
    return folder


@pytest.fixture
def repository(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    shutil.copytree(made, folder)
    # outside of a run there is no run's log
    monkeypatch.setattr(remote, "get_run_logger", lambda: logging.getLogger("test"))
    return folder


def dvc(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, capture_output=True)


def push(folder: Path, store: ObjectStore, seconds: float = 0) -> None:
    """As a retrain does."""
    params = store.params(seconds)
    name = default_remote(folder, params)
    assert name is not None
    push_outputs.fn(folder, name, params)


def lost(folder: Path) -> None:
    """The files and the cache are gone."""
    (folder / "head.txt").unlink(missing_ok=True)
    shutil.rmtree(folder / "many", ignore_errors=True)
    shutil.rmtree(folder / ".dvc" / "cache", ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether all outputs are there as the stages wrote them."""
    many = {file.name: file.read_text() for file in (folder / "many").iterdir()}
    return (folder / "head.txt").read_text() == "weights" and many == {str(i): str(i) * TIMES for i in range(FILES)}


def cut(store: ObjectStore, begun: Callable[[], object], seconds: float) -> threading.Thread:
    """Stop the store as soon as something has begun, for some seconds."""

    def work() -> None:
        while not begun():
            time.sleep(0.002)
        store.stop()
        time.sleep(seconds)
        store.start()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


# a restart, and the minute of an outage
@pytest.mark.parametrize("seconds", [2, 60])
def test_a_store_that_goes_away_in_the_middle_changes_nothing(
    repository: Path, store: ObjectStore, caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    """It ends after the first object of a push, and after the first file of a pull; each goes on when it is back."""
    caplog.set_level(logging.INFO, "test")
    thread = cut(store, store.objects, seconds)
    push(repository, store, seconds + 60)
    thread.join()
    assert "cut off" in caplog.text, "it came back before DVC saw it"
    assert (repository / ".dvc" / "config.local").read_text().count("access_key") == 0
    assert len(store.objects()) == FILES + 2  # the list of the folder is one of them
    lost(repository)
    lines: list[Any] = []
    cache = repository / ".dvc" / "cache" / "files"
    thread = cut(store, lambda: next(cache.rglob("*/*/*"), None) if cache.exists() else None, seconds)
    pull_outputs(repository, ["head.txt", "many"], lines.append, store.params(seconds + 60))
    thread.join()
    assert is_whole(repository)


@pytest.mark.parametrize(("changed", "message"), WRONG_CREDENTIALS)
def test_credentials_that_are_missing_or_wrong(
    repository: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], message: str
) -> None:
    """One line names the variables, and with them the same command does it."""
    with monkeypatch.context() as wrong:
        for name, value in changed.items():
            wrong.setenv(name, value)
        with pytest.raises(RemoteError, match=message) as error:
            push(repository, store)
    assert "\n" not in str(error.value)
    assert "other" not in str(error.value)
    assert not store.objects()


def test_an_object_that_lost_its_end_is_refused(repository: Path, store: ObjectStore) -> None:
    """A store may have acknowledged more than it wrote; DVC would else take any object of the right name."""
    push(repository, store)
    broken = next(one for one, content in store.objects().items() if content == b"weights")
    (store.folder / BUCKET / broken).write_bytes(b"weigh\0\0")
    lost(repository)
    with pytest.raises(RemoteError, match=r"dvc pull: .* damaged"):
        pull_outputs(repository, ["head.txt", "many"], print, store.params())
    assert not (repository / "head.txt").exists()


def test_a_full_store_is_one_line_and_the_same_command_goes_on(
    repository: Path, tmp_path: Path, store: ObjectStore
) -> None:
    store.stop()
    with small_disk(tmp_path / "disk" / "s3", "400k") as mounted:
        if not mounted:
            pytest.skip("only root mounts a small disk")
        small = ObjectStore(tmp_path / "disk" / "s3")
        with small, pytest.raises(RemoteError, match=r"failed to upload; .*InternalError.* may be full") as error:
            push(repository, small)
        assert "\n" not in str(error.value)
        arrived = small.objects()
        assert 0 < len(arrived) < FILES + 2
        shutil.copytree(small.folder, store.folder, dirs_exist_ok=True)
    store.start()
    push(repository, store)
    after = store.objects()
    assert len(after) == FILES + 2
    lost(repository)
    pull_outputs(repository, ["head.txt", "many"], print, store.params())
    assert is_whole(repository)


def test_a_remote_that_does_not_answer_is_named(repository: Path, tmp_path: Path) -> None:
    assert default_remote(repository) is None
    with pytest.raises(RemoteError, match="no default remote"):
        pull_outputs(repository, ["head.txt"], print)
    begin = time.monotonic()
    with pytest.raises(RemoteError, match=r"dvc push: s3://models at http://\S+ does not answer .*run it again"):
        push(repository, ObjectStore(tmp_path / "none"))
    assert time.monotonic() - begin < 20
    (repository / ".dvc" / "config.local").unlink()
    dvc(repository, "remote", "add", "--default", "store", "/proc/store")
    assert default_remote(repository) == "store"
    with pytest.raises(RemoteError, match="dvc push --remote store: ERROR"):
        push_outputs.fn(repository, "store")
