"""Where candidates come from: whatever is wrong with a picture is reported, and the next one follows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cascade.inbox.store import CONTROL, HARD, entries, save
from cascade.preprocess.image import decode
from tasks.common.files import sha256
from tasks.data.readers import Rejected
from tasks.data.schema import DataError, ImageRow, arrow_schema
from tasks.mining.sources import Candidate, gather
from tests.support import bad_images, clips, tiny

LIMITS = {"max_pixels": 1_000_000, "min_side": 32}
SIZE = (64, 48)
FPS = 10


def picture(number: int) -> bytes:
    return tiny.encoded(tiny.street((number * 6 % 256, 60, 200), size=SIZE))


def take(**sources: Any) -> tuple[list[Candidate], list[Rejected]]:
    rejected: list[Rejected] = []
    return list(gather(**{**LIMITS, **sources}, rejected=rejected)), rejected


def write_clip(
    path: Path, seconds: float = 2.0, *, size: tuple[int, int] = SIZE, offset: int = 0, container: str | None = None
) -> Path:
    """Encode a clip whose red tells the frame's number."""
    import av

    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(int(seconds * FPS)):
            image = Image.new("RGB", size, (index * 10, 60, 60))
            # no two frames may be the same file once they are decoded
            image.paste((index * 10, 255, 60), (index * 3, 0, index * 3 + 3, 48))
            frame = av.VideoFrame.from_image(image)
            frame.pts = index + offset
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Encode a clip without a picture."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_pool(path: Path, datas: list[bytes]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        ImageRow(data=data, name=f"{index}.jpg", label=1, sha256=sha256(data), place="corner", slices={"time": "night"})
        for index, data in enumerate(datas)
    ]
    pq.write_table(pa.Table.from_pylist([row.to_record() for row in rows], schema=arrow_schema()), path)
    return path


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"pool": Path("no/pool.parquet")}, "no such file to mine"),
        ({"folder": Path("no/folder")}, "no such folder to mine"),
        ({"videos": [Path("no/clip.mp4")]}, "no such file to mine"),
    ],
)
def test_a_source_that_is_missing_is_named(source: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        take(**source)


def test_an_inbox_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert take(inbox=tmp_path / "nothing") == ([], [])


@pytest.mark.parametrize("name", bad_images.BAD)
def test_a_bad_picture_is_reported_and_the_next_one_follows(tmp_path: Path, name: str) -> None:
    data, _, reason = bad_images.BAD[name]
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "b.jpg").write_bytes(picture(1))
    found, rejected = take(folder=tmp_path, max_pixels=50_000_000)
    assert [one.name for one in found] == ["b.jpg"]
    assert [(one.name, one.reason) for one in rejected] == [("a.jpg", reason)]


def test_pictures_from_the_field_are_found(tmp_path: Path) -> None:
    for name, (data, _) in bad_images.ODD.items():
        (tmp_path / name).write_bytes(data)
    found, rejected = take(folder=tmp_path, max_pixels=50_000_000)
    assert {one.name for one in found} == set(bad_images.ODD)
    assert rejected == []


def test_a_folder_without_labels(tmp_path: Path) -> None:
    for name in ("top.jpg", "drive_1/1.jpg", "drive_1/2.jpg", ".cache/3.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture(len(name)) + name.encode())
    (tmp_path / "notes.txt").write_text("no picture")
    # the content tells what a file is, not its name
    (tmp_path / "drive_1" / "3").write_bytes(picture(99))
    write_clip(tmp_path / "drive_1" / "4", 0.2, container="mov")
    found, rejected = take(folder=tmp_path)
    places = {one.name: one.place for one in found}
    drive = {f"drive_1/{name}": "drive_1" for name in ("1.jpg", "2.jpg", "3")}
    assert places == {"top.jpg": found[-1].sha256, **drive}
    assert [(one.name, one.reason) for one in rejected] == [("notes.txt", "not_an_image")]


def test_a_labelled_folder_is_no_single_place(tmp_path: Path) -> None:
    for name in ("roadwork/1.jpg", "clear/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(picture(len(name)))
    found, _ = take(folder=tmp_path)
    assert {one.place for one in found} == {one.sha256 for one in found}


def test_the_inbox_gives_what_the_service_said(tmp_path: Path) -> None:
    save(tmp_path, HARD, picture(1), {"reason": "uncertain", "probability": 0.4})
    save(tmp_path, CONTROL, picture(2), {"reason": "control", "probability": "high"})
    save(tmp_path, HARD, picture(3), {})
    (altered,) = [entry for entry in entries(tmp_path) if entry.sha256 == sha256(picture(3))]
    altered.path.with_suffix(".jpg").write_bytes(b"cut")
    found, rejected = take(inbox=tmp_path)
    assert {(one.reason, one.probability, one.origin) for one in found} == {
        ("uncertain", 0.4, "inbox"),
        ("control", None, "inbox"),
    }
    assert [(one.name, one.reason) for one in rejected] == [(f"hard/{altered.sha256}", "damaged")]


def test_a_picture_that_goes_while_we_read_is_passed_over(tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path, HARD, picture(number), {})
    rejected: list[Rejected] = []
    stream: Iterator[Candidate] = gather(inbox=tmp_path, **LIMITS, rejected=rejected)
    first = next(stream)
    for entry in entries(tmp_path):
        entry.path.with_suffix(".jpg").unlink()
    assert first.origin == "inbox"
    assert (list(stream), rejected) == ([], [])


def test_a_picture_is_given_once_and_keeps_its_answer(tmp_path: Path) -> None:
    save(tmp_path / "inbox", HARD, picture(1), {"reason": "uncertain", "probability": 0.4})
    ((entry),) = entries(tmp_path / "inbox")
    data = entry.load()[0]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "same.jpg").write_bytes(data)
    pool = write_pool(tmp_path / "pool.parquet", [data, picture(2)])
    found, rejected = take(inbox=tmp_path / "inbox", folder=tmp_path / "folder", pool=pool)
    assert [(one.origin, one.probability) for one in found] == [("inbox", 0.4), ("pool", None)]
    assert (found[1].place, found[1].slices) == ("corner", {"time": "night"})
    assert rejected == []


@pytest.mark.parametrize(
    ("rate", "seconds"),
    [
        (1.0, [0.0, 1.0]),
        (2.5, [0.0, 0.4, 0.8, 1.2, 1.6]),
        # no multiple of the clip's own rate: the first frame after each moment
        (3.0, [0.0, 0.4, 0.7, 1.0, 1.4, 1.7]),
        # more than there are: every frame
        (100.0, [index / FPS for index in range(20)]),
        (0.1, [0.0]),
    ],
)
# the last one as of a camera that has run for an hour
@pytest.mark.parametrize("offset", [0, 7, 3600 * FPS])
def test_frames_are_taken_at_the_rate(tmp_path: Path, rate: float, seconds: list[float], offset: int) -> None:
    clip = write_clip(tmp_path / "drive.mp4", offset=offset)
    found, rejected = take(videos=[clip], frames_per_second=rate)
    assert [one.name for one in found] == [f"drive.mp4@{second:.2f}s" for second in seconds]
    assert {one.place for one in found} == {"drive.mp4"}
    reds = [np.asarray(decode(one.data, **LIMITS))[..., 0].mean() / 10 for one in found]
    assert np.allclose(reds, [second * FPS for second in seconds], atol=1.5)
    assert rejected == []


def clip(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.mp4"
    if kind == "no video":
        return write_sound(path)
    if kind == "large":
        return write_clip(path, 0.2, size=(640, 480))
    if kind == "playlist":
        # FFmpeg would take this for a playlist, whatever the file is called, and open what it lists
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
        return path
    path.write_bytes({"empty": b"", "text": b"no clip", "noise": bytes(range(256)) * 40}[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "empty"),
        ("text", "not_a_clip"),
        ("noise", "not_a_clip"),
        ("playlist", "not_a_clip"),
        ("no video", "no_video"),
        ("large", "too_large"),
    ],
)
def test_a_bad_clip_is_reported_and_the_next_one_follows(tmp_path: Path, kind: str, reason: str) -> None:
    found, rejected = take(videos=[clip(tmp_path, kind), write_clip(tmp_path / "good.mp4", 0.5)], max_pixels=100_000)
    assert [one.name for one in found] == ["good.mp4@0.00s"]
    assert [one.reason for one in rejected] == [reason]


def test_damaged_packets_are_passed_over_and_reported(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "drive.mp4")
    path.write_bytes(clips.damaged(path.read_bytes(), [5]))
    found, rejected = take(videos=[path], frames_per_second=FPS)
    assert len(found) == 19
    assert [(one.name, one.reason) for one in rejected] == [("drive.mp4", "damaged")]
    assert rejected[0].detail.startswith("1 damaged")


def test_a_clip_that_is_cut_gives_what_there_is(tmp_path: Path) -> None:
    """Matroska keeps no index at its end, so a recorder that lost power leaves a file like this."""
    whole = write_clip(tmp_path / "drive.mkv", 4.0).read_bytes()
    (tmp_path / "drive.mkv").write_bytes(whole[: len(whole) // 2])
    found, _ = take(videos=[tmp_path / "drive.mkv"], frames_per_second=5)
    assert 2 <= len(found) < 20
