"""Stages whose engine computes on a card: whose memory they take, and that it is measured at its peak."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from cascade.engines import boxes, classifier
from cascade.process.card import CardMemory
from cascade.stages.base import runs_on
from cascade.stages.classifier import ClassifierStage
from cascade.stages.detectors import DetectorsStage
from tests.support import tiny, tiny_detector
from tests.support.fake_cuda import run_on_a_double

GIB = 1 << 30


def with_engine(file: Path, engine: str) -> Path:
    """Change the engine in a stage's settings; gives their folder."""
    file.write_text(json.dumps({**json.loads(file.read_text()), "engine": engine}))
    return file.parent


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[CardMemory]:
    """A driver that counts 2 GiB before a stage is loaded, and 5 after it."""
    counts = [CardMemory(2 * GIB, 24 * GIB, 1 * GIB), CardMemory(6 * GIB, 24 * GIB, 4 * GIB)]
    monkeypatch.setattr("cascade.process.memory.card_memory", lambda *_: counts.pop(0))
    return counts


@pytest.mark.parametrize(
    ("engine", "device"),
    [
        ("tensorrt", "cuda"),
        ("torch_cuda", "cuda"),
        ("openvino", "cpu"),
        ("onnxruntime", "cpu"),
        ("torch", "cpu"),
    ],
)
def test_a_stage_takes_the_memory_of_its_engine(tmp_path: Path, engine: str, device: str) -> None:
    first = ClassifierStage(with_engine(tiny.write_classifier(tmp_path / "classifier") / "classifier.json", engine))
    second = DetectorsStage(
        with_engine(tiny_detector.write_detectors(tmp_path / "detectors") / "detectors.json", engine)
    )
    for stage in (first, second):
        # before anything is loaded, so that a profile without room is refused at the start
        assert (stage.device, runs_on(stage), stage.precision) == (device, device, None)


def test_the_classifier_is_measured_with_its_largest_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[CardMemory]
) -> None:
    run_on_a_double(monkeypatch)
    seen: list[int] = []
    run = classifier.ClassifierEngine.run
    monkeypatch.setattr(
        classifier.ClassifierEngine, "run", lambda self, batch: seen.append(len(batch)) or run(self, batch)
    )
    stage = ClassifierStage(with_engine(tiny.write_classifier(tmp_path) / "classifier.json", "torch_cuda"))
    stage.load()
    assert (stage.memory_bytes, stage.precision, seen, counted) == (3 * GIB, "fp32", [32], [])
    assert stage.predict([tiny.street(tiny.ORANGE)])[0].verdict == "roadwork"
    stage.unload()
    assert stage.precision is None


def test_the_detectors_are_measured_with_their_largest_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[CardMemory]
) -> None:
    run_on_a_double(monkeypatch)
    seen: list[int] = []
    see = boxes.BoxEngine.see
    monkeypatch.setattr(boxes.BoxEngine, "see", lambda self, images: seen.append(len(images)) or see(self, images))
    folder = with_engine(tiny_detector.write_detectors(tmp_path) / "detectors.json", "torch_cuda")
    stage = DetectorsStage(folder)
    stage.load()
    most = boxes.load_contract(folder / "yolo").max_batch
    assert (stage.memory_bytes, stage.precision, seen, counted) == (3 * GIB, "fp32", [most, most], [])
    assert stage.predict([tiny_detector.street_with(3)], [0.5])[0].verdict == "roadwork"
    stage.unload()
    with pytest.raises(RuntimeError, match="call load"):
        stage.predict([Image.new("RGB", (8, 8))])
