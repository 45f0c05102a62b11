"""Folders and files that a kill cannot leave half written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.common.files import new_folder, read_json, sha256, sha256_file, write_bytes, write_json


def fill(final: Path, text: str, *, fail: bool = False) -> None:
    with new_folder(final) as partial:
        assert list(partial.iterdir()) == []
        (partial / "a").write_text(text)
        if fail:
            raise RuntimeError


def test_error_leaves_the_previous_folder_untouched(tmp_path: Path) -> None:
    final = tmp_path / "out"
    fill(final, "first")
    with pytest.raises(RuntimeError):
        fill(final, "second", fail=True)
    assert (final / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_linked_folder_stays_one_and_is_replaced_behind_the_link(tmp_path: Path) -> None:
    (tmp_path / "disk/big").mkdir(parents=True)
    link = tmp_path / "project/out"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "disk/big")
    for text in ("first", "second", "third"):
        fill(link, text)
        assert link.is_symlink()
        assert (link / "a").read_text() == text
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["big"]
    assert [path.name for path in (tmp_path / "project").iterdir()] == ["out"]


@pytest.mark.parametrize(
    "left",
    [
        # killed while filling
        {".out.partial/a": "half", "out/a": "old"},
        # killed between the two renames: the old folder is the only whole one
        {".out.old/a": "old", ".out.partial/a": "new"},
        # killed before the old one was removed
        {".out.old/a": "older", "out/a": "old"},
    ],
)
def test_what_a_kill_leaves_is_repaired(tmp_path: Path, left: dict[str, str]) -> None:
    for name, text in left.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(RuntimeError):
        fill(tmp_path / "out", "new", fail=True)
    assert (tmp_path / "out" / "a").read_text() == "old"
    fill(tmp_path / "out", "new")
    assert (tmp_path / "out" / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_write_json_is_the_same_for_the_same_content(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"b": 1, "a": "ö"})
    write_json(tmp_path / "b.json", {"a": "ö", "b": 1})
    assert (tmp_path / "new" / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "b.json") == {"a": "ö", "b": 1}


def test_write_json_refuses_nan_and_keeps_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == 1


WRITER = """
import sys
from pathlib import Path
from tasks.common.files import write_bytes
for _ in range(200):
    write_bytes(Path(sys.argv[1]), sys.argv[2].encode() * 100_000, durable=False)
"""


def test_processes_that_write_one_file_leave_one_whole_content(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a")]
    writers = [subprocess.Popen([*command, letter]) for letter in "xy"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert (tmp_path / "a").read_bytes() in (b"x" * 100_000, b"y" * 100_000)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path, durable: bool) -> None:
    write_bytes(tmp_path / "a", b"old", durable=durable)
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "a", "text", durable=durable)  # type: ignore[arg-type]
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_digests_agree(tmp_path: Path) -> None:
    data = b"x" * 3_000_000
    write_bytes(tmp_path / "a", data)
    assert sha256_file(tmp_path / "a") == sha256(data)


def test_a_full_disk_under_safetensors_is_an_error_of_the_system(tmp_path: Path) -> None:
    """A limit on file sizes fails a write as a full disk does; in a process of its own, where it binds nobody else."""
    script = f"""
import resource
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file
from tasks.common.files import new_folder

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    with new_folder(Path({str(tmp_path / "out")!r})) as partial:
        save_file({{"weights": np.zeros(100_000)}}, partial / "model.safetensors")
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{tmp_path / 'out'}: ")
    assert "File too large" in done.stdout
    assert list(tmp_path.iterdir()) == []
