"""The command line as a user meets it: real processes in a folder with params.yaml and a champion."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support import bad_images, tiny
from tests.support.clips import clip, without_ftyp
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration
PARAMS = ROOT / "params.yaml"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    shutil.copyfile(PARAMS, folder / "params.yaml")
    (folder / "models").mkdir()
    tiny.write_release(folder / "models")
    for name, (data, *_) in {**bad_images.BAD, **bad_images.ODD}.items():
        (folder / name).write_bytes(data)
    return folder


def streetvision(folder: Path, *arguments: str, columns: int = 200) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cascade.cli", *arguments]
    environment = {**os.environ, "COLUMNS": str(columns)}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, env=environment, check=False
    )


def test_bad_images_get_one_line_each_and_exit_code_1(project: Path) -> None:
    done = streetvision(project, "predict", *bad_images.BAD, "missing.jpg", "--json")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == [*bad_images.BAD, "missing.jpg"]
    assert all(len(line) > len(name) + 10 for line, name in zip(lines, bad_images.BAD, strict=False))
    assert json.loads(done.stdout) == {}


def test_odd_images_are_answered_rightly(project: Path) -> None:
    done = streetvision(project, "predict", *bad_images.ODD, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answers = json.loads(done.stdout)
    assert {name: answer["label"] for name, answer in answers.items()} == {
        name: label for name, (_, label) in bad_images.ODD.items()
    }


def test_a_bad_image_does_not_hide_the_others(project: Path) -> None:
    done = streetvision(project, "predict", "cmyk.jpg", "empty.jpg", "cmyk_clear.jpg")
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["empty.jpg: the file is empty"]
    assert "roadwork" in done.stdout
    assert "cmyk_clear.jpg" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "cmyk.jpg", "--release", "nowhere"], "manifest.json"),
        (["evaluate", "nowhere"], "nowhere: no such folder"),
        (["evaluate", "models"], "no labelled images"),
        (["serve", "--host", "0.0.0.0"], "STREETVISION_API_KEY"),  # noqa: S104 - what must be refused
    ],
)
def test_wrong_use_gets_one_line_and_exit_code_1(project: Path, arguments: list[str], message: str) -> None:
    done = streetvision(project, *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert message in line


@pytest.mark.parametrize("breakage", ["no params", "no champion", "unknown key"])
def test_an_unfit_project_is_explained(tmp_path: Path, breakage: str) -> None:
    if breakage != "no params":
        shutil.copyfile(PARAMS, tmp_path / "params.yaml")
    if breakage == "unknown key":
        text = (tmp_path / "params.yaml").read_text().replace("  max_images:", "  max_imags:")
        (tmp_path / "params.yaml").write_text(text)
    done = streetvision(tmp_path, "predict", "a.jpg")
    assert done.returncode == 1
    assert {"no params": "params.yaml", "no champion": "make run", "unknown key": "serve.max_imags"}[
        breakage
    ] in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "release", [[], pytest.param(["--release", "models/releases/champion"], marks=pytest.mark.slow)]
)
def test_evaluate_reports_and_names_what_it_skipped(project: Path, tmp_path: Path, release: list[str]) -> None:
    for name, top in (("roadwork", tiny.ORANGE), ("clear", tiny.BLUE)):
        (tmp_path / name).mkdir()
        for index in range(3):
            (tmp_path / name / f"{index}.jpg").write_bytes(tiny.encoded(tiny.street(top)))
    done = streetvision(project, "evaluate", str(tmp_path), "--json", *release)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["metrics"]["mcc"], report["metrics"]["auc"], report["metrics"]["n"]) == (1, 1, 6)
    assert (report["prior"], report["constant"]["accuracy"], report["constant"]["reward"]) == (0.5, 0.5, 0.015625)

    (tmp_path / "clear" / "broken.jpg").write_bytes(b"")
    done = streetvision(project, "evaluate", str(tmp_path), *release)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"{tmp_path}/clear/broken.jpg: the file is empty",
        "left out: 1 of 7; the metrics are of the rest",
    ]
    assert "accuracy" in done.stdout
    assert "constant answer" in done.stdout
    assert "prior 0.5" in " ".join(done.stdout.split())


def test_each_file_has_one_line_and_a_trace_on_request(project: Path) -> None:
    (project / "street.mp4").write_bytes(clip([tiny.BLUE] * 4 + [tiny.ORANGE] * 4))
    (project / "broken.mp4").write_bytes(clip([tiny.BLUE] * 8)[:600])
    done = streetvision(project, "predict", "street.mp4", "cmyk.jpg", "broken.mp4")
    assert done.returncode == 1
    assert done.stderr.startswith("broken.mp4: the file is not a clip")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] + line[3:4] for line in lines] == [
        ["street.mp4", "roadwork", "classifier"],
        ["cmyk.jpg", "roadwork", "classifier"],
    ]
    table = streetvision(project, "predict", "street.mp4", "cmyk.jpg", "--trace", columns=80).stdout
    assert max(map(len, table.splitlines())) <= 80
    for words in ("pooled", "which stands for the clip", "verdict"):
        assert words in table
    (answer,) = json.loads(streetvision(project, "predict", "street.mp4", "--json").stdout).values()
    assert [moment["pooled"] > 0.5 for moment in answer["timeline"]] == [False, False, True, True]


def test_pictures_are_saved_and_no_input_is_overwritten(project: Path, tmp_path: Path) -> None:
    for name in ("cmyk.jpg", "a/b.png", "c/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(tiny.encoded(tiny.street(tiny.ORANGE), "PNG" if name.endswith("png") else "JPEG"))
    (tmp_path / "street.mp4").write_bytes(clip([tiny.BLUE] * 4 + [tiny.ORANGE] * 4))
    inputs = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in inputs}
    for _ in range(2):
        done = streetvision(project, "predict", *map(str, inputs), "--save", str(tmp_path))
        assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 4)
    assert {path: path.read_bytes() for path in inputs} == before
    made = {path.name for path in tmp_path.rglob("*") if path.is_file() and path not in before}
    assert made == {f"{name}_predicted.jpg" for name in ("cmyk", "a_b", "c_b", "street")}
    for name in made:
        with Image.open(tmp_path / name) as image:
            assert (image.format, image.width) == ("JPEG", 960)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        # a file of that name, and a folder nobody may write to; the first is found before a model is loaded
        ("cmyk.jpg", "--save cmyk.jpg: File exists"),
        ("/proc/nothing", "--save /proc/nothing: No such file or directory"),
    ],
)
def test_a_folder_that_cannot_be_used_gets_one_line(project: Path, folder: str, message: str) -> None:
    done = streetvision(project, "predict", "cmyk.jpg", "--save", folder)
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (1, "", [message])


def test_a_clip_is_told_by_its_content(project: Path, tmp_path: Path) -> None:
    tops = [tiny.BLUE] * 4 + [tiny.ORANGE] * 8
    files = {
        "old.mov": without_ftyp(clip(tops, container="mov")),
        "drive.avi": clip(tops, container="avi"),
        "drive.ts": clip(tops, container="mpegts", codec="libx264"),
        "without_suffix": clip(tops, container="webm", codec="libvpx", live=True),
        "street.jpg": clip(tops),
        "picture.mp4": bad_images.JPEG,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    done = streetvision(project, "predict", *(str(tmp_path / name) for name in files), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answers = json.loads(done.stdout)
    assert {answer["label"] for answer in answers.values()} == {"roadwork"}
    assert [Path(path).name for path, answer in answers.items() if "timeline" not in answer] == ["picture.mp4"]


def test_what_is_no_clip_that_is_read_is_told_by_name(project: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(clip([tiny.BLUE] * 4, container="flv", codec="flv"))
    (tmp_path / "b.mp4").write_bytes(b"ffconcat version 1.0\nfile a.mp4\n")
    os.mkfifo(tmp_path / "c.jpg")
    done = streetvision(project, "predict", *(str(tmp_path / name) for name in ("a.mp4", "b.mp4", "c.jpg")))
    assert done.returncode == 1
    flash, listed, pipe = done.stderr.splitlines()
    assert "clips of the format Flash video are not read" in flash
    assert "not an image" in listed
    assert "neither a file nor a folder" in pipe


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name images or clips"),  # nothing to predict
        (("a.jpg", "--key-env", "KEY"), "goes with --url"),  # of a service, which is not asked
        (("--batch", "in"), "belong together"),  # nowhere to write
        (("--out", "out"), "belong together"),  # nothing to read
        (("a.jpg", "--batch", "in", "--out", "out"), "belong together"),
        (("--batch", "in", "--out", "out", "--url", "http://127.0.0.1:1"), "belong together"),
        (("--batch", "in", "--out", "out", "--key-env", "KEY"), "belong together"),  # of a service, which is not asked
        (("--batch", "nothing", "--out", "out"), "nothing: no such file or folder"),
    ],
)
def test_predict_says_what_is_missing(project: Path, arguments: tuple[str, ...], message: str) -> None:
    done = streetvision(project, "predict", *arguments)
    assert (done.returncode, message in done.stderr) == (1, True)


def test_predict_of_a_folder_writes_shards(project: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    (tmp_path / "in").mkdir()
    for name, top in (("works.jpg", tiny.ORANGE), ("clear.jpg", tiny.BLUE)):
        (tmp_path / "in" / name).write_bytes(tiny.encoded(tiny.street(top)))
    done = streetvision(project, "predict", "--batch", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json")
    assert (done.returncode, json.loads(done.stdout)["pictures"]) == (0, 2), done.stderr
    rows = pq.read_table(tmp_path / "out").to_pylist()
    assert {row["path"]: row["label"] for row in rows} == {"works.jpg": "roadwork", "clear.jpg": "clear"}


@pytest.mark.slow
def test_one_stage_alone_and_several_squares(project: Path, tmp_path: Path) -> None:
    for name, top in (("roadwork", tiny.ORANGE), ("clear", tiny.BLUE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes(tiny.encoded(tiny.street(top, size=(900, 300))))
    options = ("--stage", "classifier", "--crops", "3", "--pool", "max", "--json")
    done = streetvision(project, "evaluate", str(tmp_path), *options)
    assert json.loads(done.stdout)["metrics"]["mcc"] == 1
    for wrong, message in (
        (("--stage", "vlm"), "no stage vlm"),
        (("--crops", "0"), "--crops 0"),
        (("--prior", "50%"), "--prior 50%"),
    ):
        done = streetvision(project, "evaluate", str(tmp_path), *wrong)
        assert (done.returncode, message in done.stderr) == (1, True)


def test_status_shows_champion_gate_stages_and_service(project: Path) -> None:
    document = json.loads(streetvision(project, "status", "--json").stdout)
    assert document["champion"]["gate"] == tiny.METRICS
    (stage,) = document["stages"]
    assert (stage["name"], stage["on"], stage["engine"], stage["precision"]) == (
        "classifier",
        True,
        "onnxruntime",
        "fp32",
    )
    assert document["service"] is None
    table = streetvision(project, "status", columns=80).stdout
    for words in (document["champion"]["id"], "mcc 0.910", "onnxruntime cpu fp32", "not running"):
        assert words in table
    assert max(map(len, table.splitlines())) <= 80


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, cascade.cli; print(sorted({'torch', 'numpy', 'openvino', 'fastapi', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
