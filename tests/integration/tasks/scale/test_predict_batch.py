"""Batch prediction with a real release: what fails first; a run that is cut off and resumed changes nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cascade.config import load_runtime_params
from cascade.release.store import Release
from tasks.common.files import write_bytes
from tasks.config.scale import ScaleParams
from tasks.scale import output
from tasks.scale.errors import OutputError
from tasks.scale.predict import predict_batch
from tests.support import bad_images, tiny
from tests.support.clips import clip
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration
PARAMS = tiny.runtime_params()
SCALE = ScaleParams(shard_pictures=8)
COUNT = 40


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Release]:
    return {name: tiny.write_release(tmp_path_factory.mktemp(name), gain=gain) for name, gain in GAINS.items()}


GAINS = {"old": 10.0, "new": 5.0}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files, a clip, files that no decoder reads, and a parquet file of three row groups."""
    folder = tmp_path_factory.mktemp("source")
    for number in range(COUNT):
        (folder / f"{number:03}.jpg").write_bytes(picture(number))
    for name in ("empty.jpg", "truncated.jpg", "text.jpg", "sideways.jpg"):
        (folder / name).write_bytes({**bad_images.BAD, **bad_images.ODD}[name][0])
    (folder / "clip.mp4").write_bytes(clip([tiny.ORANGE] * 8))
    (folder / "notes.txt").write_text("no picture")
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    write_parquet(folder / "more" / "a.parquet", 12)
    return folder


def picture(number: int) -> bytes:
    return tiny.encoded(tiny.street(tiny.ORANGE if number % 2 else tiny.BLUE, (number, 90, 90)))


def write_parquet(path: Path, count: int, *, first: int = 100) -> None:
    path.parent.mkdir(exist_ok=True)
    rows = [{"bytes": picture(number), "path": f"row-{number}.jpg"} for number in range(first, first + count)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), path, row_group_size=4)


@pytest.fixture(scope="module")
def undisturbed(source: Path, releases: dict[str, Release], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    report = predict_batch(source, out, PARAMS, SCALE, releases["old"].folder)
    assert (report["pictures"], report["reused"], report["problems"]) == (COUNT + 6 + 12, 0, [])
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder).to_pylist()  # type: ignore[no-any-return]


def test_what_cannot_be_read_is_a_row_with_its_reason(undisturbed: Path) -> None:
    rows = {row["path"]: row for row in rows_of(undisturbed)}
    refused = {path: row["refused"] for path, row in rows.items() if row["refused"]}
    assert refused == {
        "empty.jpg": "empty", "truncated.jpg": "truncated", "text.jpg": "not_an_image", "dangling.jpg": "unreadable",
    }  # fmt: skip
    assert all(rows[path]["message"] and rows[path]["probability"] is None for path in refused)
    assert json.loads((undisturbed / "_batch.json").read_text())["refused"] == dict.fromkeys(refused.values(), 1)


def test_a_picture_a_row_in_the_order_of_the_input(undisturbed: Path, releases: dict[str, Release]) -> None:
    rows = rows_of(undisturbed)
    stills = [row for row in rows if row["path"][:3].isdigit()]
    assert [row["label"] for row in stills] == ["clear", "roadwork"] * (COUNT // 2)
    assert [row["path"] for row in stills] == sorted(row["path"] for row in stills)
    parquet = [row for row in rows if row["row"] is not None]
    assert [(row["path"], row["row"], row["name"]) for row in parquet] == [
        ("more/a.parquet", number, f"row-{100 + number}.jpg") for number in range(12)
    ]
    (stage,) = json.loads(stills[0]["trace"])["stages"]
    assert stage["stage"] == stills[0]["decided_by"] == "classifier"
    assert stage["probability"] == stills[0]["probability"]
    (film,) = [row for row in rows if row["kind"] == "clip"]
    assert (film["path"], film["label"], film["complete"]) == ("clip.mp4", "roadwork", True)
    assert len(json.loads(film["trace"])["timeline"]) == 4
    assert json.loads((undisturbed / "_batch.json").read_text())["release"] == releases["old"].id


def test_a_second_run_computes_nothing(
    source: Path, releases: dict[str, Release], undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    monkeypatch.setattr("cascade.core.cascade.Cascade.predict", None)
    report = predict_batch(source, tmp_path / "out", PARAMS, SCALE, releases["old"].folder)
    assert report["reused"] == report["shards"] == len(content(undisturbed))
    assert content(tmp_path / "out") == content(undisturbed)
    assert not (tmp_path / "out" / ".earlier").exists()


def change_release(folder: Path) -> str:
    return "new"


def change_picture(folder: Path) -> str:
    (folder / "007.jpg").write_bytes(picture(500))
    return "old"


def add_picture(folder: Path) -> str:
    (folder / "0000.jpg").write_bytes(picture(501))
    return "old"


def remove_rows(folder: Path) -> str:
    write_parquet(folder / "more" / "a.parquet", 8)
    return "old"


def damage_a_shard(folder: Path) -> str:
    shard = min((folder.parent / "out").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-7])
    return "old"


@pytest.mark.parametrize(
    ("change", "anew", "pictures"),
    [
        (change_release, None, 58),
        (change_picture, 1, 58),
        # the piece that it falls into
        pytest.param(add_picture, 1, 59, marks=pytest.mark.slow),
        pytest.param(remove_rows, 0, 54, marks=pytest.mark.slow),
        pytest.param(damage_a_shard, 1, 58, marks=pytest.mark.slow),
    ],
)
def test_only_shards_of_the_same_release_and_pictures_are_used_again(
    source: Path,
    releases: dict[str, Release],
    undisturbed: Path,
    tmp_path: Path,
    change: Any,
    anew: int | None,
    pictures: int,
) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    shutil.copytree(source, tmp_path / "in", symlinks=True)
    release = releases[change(tmp_path / "in")].folder
    report = predict_batch(tmp_path / "in", tmp_path / "out", PARAMS, SCALE, release)
    assert report["shards"] - report["reused"] == (report["shards"] if anew is None else anew)
    assert report["pictures"] == pictures
    # nothing of what was there before stays beside it
    fresh = predict_batch(tmp_path / "in", tmp_path / "fresh", PARAMS, SCALE, release)
    assert content(tmp_path / "out") == content(tmp_path / "fresh")
    assert {**fresh, "reused": 0} == {**report, "reused": 0}


def test_a_parquet_file_that_cannot_be_read_loses_no_other_and_none_of_its_shards(
    source: Path, releases: dict[str, Release], undisturbed: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    shutil.copytree(source, tmp_path / "in", symlinks=True)
    shard = tmp_path / "in" / "more" / "a.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-20])
    report = predict_batch(tmp_path / "in", tmp_path / "out", PARAMS, SCALE, releases["old"].folder)
    (problem,) = report["problems"]
    assert problem.startswith(f"{shard}: not a parquet file that can be read")
    assert report["pictures"] == len(rows_of(tmp_path / "out")) == COUNT + 6
    shard.write_bytes(whole)
    report = predict_batch(tmp_path / "in", tmp_path / "out", PARAMS, SCALE, releases["old"].folder)
    assert (report["problems"], report["reused"]) == ([], report["shards"])
    assert content(tmp_path / "out") == content(undisturbed)


def test_a_full_disk_ends_the_run_and_the_same_call_goes_on(
    source: Path, releases: dict[str, Release], undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = iter(range(3))

    def full(path: Path, data: bytes) -> None:
        if next(room, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_bytes(path, data)

    monkeypatch.setattr(output, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        predict_batch(source, tmp_path / "out", PARAMS, SCALE, releases["old"].folder)
    monkeypatch.undo()
    report = predict_batch(source, tmp_path / "out", PARAMS, SCALE, releases["old"].folder)
    assert report["reused"] == 3
    assert content(tmp_path / "out") == content(undisturbed)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("holds", "holds thesis.txt, which batch prediction has not written"),
        ("file", "a file; --out is a folder"),
        ("source/out", "lies in the input"),
        ("source", "lies in the input"),
    ],
)
def test_a_folder_that_is_not_for_shards_is_left_alone(
    releases: dict[str, Release], tmp_path: Path, name: str, message: str
) -> None:
    for folder in ("holds", "source"):
        (tmp_path / folder).mkdir()
    (tmp_path / "holds" / "thesis.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "source" / "a.jpg").write_bytes(picture(0))
    with pytest.raises(OutputError, match=message):
        predict_batch(tmp_path / "source", tmp_path / name, PARAMS, SCALE, releases["old"].folder)
    assert (tmp_path / "holds" / "thesis.txt").read_text() == "x"


def process(project: Path, source: Path, release: Path) -> subprocess.Popen[str]:
    """Start the command as a person does."""
    shutil.copyfile(ROOT / "params.yaml", project / "params.yaml")
    text = (project / "params.yaml").read_text().replace("shard_pictures: 256", "shard_pictures: 8")
    (project / "params.yaml").write_text(text)
    command = [
        sys.executable,
        "-m",
        "tasks.tools.predict_batch",
        str(source),
        "--out",
        "out",
        "--release",
        str(release),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_killed_midway_and_run_again_gives_the_same(source: Path, releases: dict[str, Release], tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "in", symlinks=True)
    (tmp_path / "in" / "more" / "a.parquet").write_bytes(b"no parquet")
    first = process(tmp_path, tmp_path / "in", releases["old"].folder)
    try:
        while not content(tmp_path / "out"):
            assert first.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    done = len(content(tmp_path / "out"))
    assert not (tmp_path / "out" / "_batch.json").exists()
    second = process(tmp_path, tmp_path / "in", releases["old"].folder)
    said, complaint = second.communicate()
    assert second.returncode == 1
    assert complaint.splitlines()[-1].startswith(f"{tmp_path}/in/more/a.parquet: not a parquet file")
    assert f"{done} of them were there" in said
    fresh = predict_batch(
        tmp_path / "in",
        tmp_path / "fresh",
        load_runtime_params(tmp_path / "params.yaml"),
        SCALE,
        releases["old"].folder,
    )
    assert fresh["pictures"] == COUNT + 6
    assert content(tmp_path / "out") == content(tmp_path / "fresh")
