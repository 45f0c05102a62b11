"""`status` for people: the figures that matter first, and why each stage is on or off."""

from __future__ import annotations

import io
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from cascade.display.status import status_tables
from cascade.release.manifest import CascadeSettings, StageEntry
from cascade.release.store import CASCADE, Release
from cascade.stages.describe import describe_stages
from tests.support import tiny

WHY = "added to the stages before it that are on, its net value on the calibration split is -3"


def release(folder: Path) -> Release:
    entries = [StageEntry(name="classifier", on=True), StageEntry(name="vlm", on=False, why=WHY)]
    settings = CascadeSettings(stages=(*entries, StageEntry(name="ocr", on=True, why="reads signs")))
    return tiny.write_release(folder, settings=settings)


def printed(found: Release | None, gpu_stages: tuple[str, ...] = ()) -> str:
    console = Console(file=io.StringIO(), width=80)
    stages = describe_stages(found, gpu_stages) if found else []
    console.print(*status_tables(found.manifest if found else None, stages, None), sep="\n")
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    return text


def test_without_a_champion_it_says_how_to_get_one() -> None:
    assert "make run" in printed(None)


def test_champion_first_then_stages_then_the_rest(tmp_path: Path) -> None:
    found = release(tmp_path)
    text = printed(found)
    parts = [
        found.id,
        "mcc 0.910, accuracy 0.950",
        "not running",
        "classifier   on",
        "vlm          off",
        "data revision",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    # the whole reason, over several lines
    assert ["its", "net", "value", "on", "the", "calibration", "split", "is", "-3"][-1] in text
    assert "onnxruntime cpu" in text


def test_the_service_started_at_a_time_of_the_clock() -> None:
    console = Console(file=io.StringIO(), width=80)
    seconds = time.time() - psutil.boot_time()
    console.print(*status_tables(None, [], {"pid": 7, "started": seconds}), sep="\n")
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert datetime.now().strftime("%Y-%m-%d %H:") in text
    assert "pid       7" in text


def test_what_runs_a_stage_is_known_only_where_it_is_on(tmp_path: Path) -> None:
    classifier, vlm, ocr = describe_stages(release(tmp_path))
    assert (classifier.engine, classifier.device, classifier.precision) == ("onnxruntime", "cpu", "fp32")
    assert (vlm.on, vlm.engine, vlm.runs_on, vlm.why) == (False, None, "", WHY)
    assert (ocr.engine, ocr.precision, ocr.runs_on) == ("rapidocr", "fp32", "rapidocr cpu fp32")


@pytest.mark.parametrize(
    ("gpu_stages", "warned"),
    [
        # a profile that wants none on the GPU
        ((), []),
        # one that is off is missed by nobody
        (("vlm",), []),
        (("classifier", "vlm"), ["classifier (onnxruntime cpu fp32)"]),
        (("classifier", "ocr"), ["classifier (onnxruntime cpu fp32)", "ocr (rapidocr cpu fp32)"]),
    ],
)
def test_a_stage_that_belongs_on_the_gpu_and_is_not_there_is_a_warning(
    tmp_path: Path, gpu_stages: tuple[str, ...], warned: list[str]
) -> None:
    found = release(tmp_path)
    text = " ".join(printed(found, gpu_stages).split())
    assert ("Warning: " in text) == bool(warned)
    assert all(one in text for one in warned)
    assert ("memory.gpu_stages wants it on the GPU" in text) == bool(warned)


def test_a_stage_whose_files_cannot_be_read_says_so_beside_the_others(tmp_path: Path) -> None:
    found = release(tmp_path)
    (found.folder / "vlm").mkdir()
    (found.folder / "vlm" / "vlm.json").write_text("{", encoding="utf-8")
    entries = (StageEntry(name="classifier", on=True), StageEntry(name="vlm", on=True, why="net 4"))
    (found.folder / CASCADE).write_text(CascadeSettings(stages=entries).model_dump_json(), encoding="utf-8")
    classifier, vlm = describe_stages(found)
    assert classifier.engine == "onnxruntime"
    assert (vlm.on, vlm.engine) == (True, None)
    assert vlm.why.startswith("damaged: ")
    assert "vlm" in vlm.why
