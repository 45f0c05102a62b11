"""Folding changes the graph and not the answers; every engine runs the result, and int8 of it is really int8."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from cascade.engines.base import EngineError, Kind
from cascade.engines.classifier import load_engine
from cascade.evaluate.prior import prior_weights
from tasks.optimize.groupwise_int8 import compress
from tasks.optimize.int8 import QuantizationError, decide_int8, quantize
from tests.support import tiny_dino


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dino.write_backbone(tmp_path_factory.mktemp("dino"))


@pytest.fixture(scope="module")
def folder(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tasks.classifier.model import write_onnx
    from tasks.optimize.fold import fold

    found = tmp_path_factory.mktemp("classifier")
    write_onnx(fold(tiny_dino.classifier(backbone)), tiny_dino.SIZE, found / "classifier.onnx")
    (found / "contract.json").write_text(json.dumps(tiny_dino.contract()))
    pixels = pictures(6)
    quantize(found / "classifier.onnx", pixels, found / "classifier_int8.onnx", exclude=["/head/.*"], transformer=True)
    return found


@pytest.fixture
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, tiny_dino.SIZE, tiny_dino.SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("pooling", ["statistics", "none"])
@pytest.mark.parametrize("layers", [(1, 2), (2,), (1, 3)])
@pytest.mark.usefixtures("one_thread")
def test_folding_keeps_the_function(backbone: Path, pooling: str, layers: tuple[int, ...]) -> None:
    import torch

    from tasks.optimize.fold import FoldedClassifier, fold

    model = tiny_dino.classifier(backbone, pooling, layers)
    folded = fold(model)
    assert isinstance(folded, FoldedClassifier)
    with torch.inference_mode():
        batch = torch.from_numpy(pictures(3))
        assert torch.allclose(model(batch), folded(batch), atol=1e-4)


def test_what_cannot_be_folded_stays_as_it_is(backbone: Path) -> None:
    from tasks.optimize.fold import fold

    model = tiny_dino.classifier(backbone)
    del model.backbone.blocks[1].mlp.fc2
    assert fold(model) is model


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime", "torch"])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.usefixtures("one_thread")
def test_every_engine_gives_torchs_answers(backbone: Path, folder: Path, kind: Kind, batch: int) -> None:
    import torch

    model = tiny_dino.classifier(backbone)
    with torch.inference_mode():
        expected = model(torch.from_numpy(pictures(batch))).numpy()
    engine = load_engine(folder, kind, "fp32", 1)
    assert engine.run(pictures(batch)) == pytest.approx(expected, abs=1e-4)
    engine.close()


def test_the_folded_graph_is_smaller(backbone: Path, folder: Path, tmp_path: Path) -> None:
    import onnx

    from tasks.classifier.model import write_onnx

    write_onnx(tiny_dino.classifier(backbone), tiny_dino.SIZE, tmp_path / "plain.onnx")
    plain, folded = (len(onnx.load(path).graph.node) for path in (tmp_path / "plain.onnx", folder / "classifier.onnx"))
    assert folded < 0.6 * plain


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
def test_int8_runs_and_is_near(folder: Path, kind: Kind) -> None:
    whole, small = load_engine(folder, kind, "fp32", 1), load_engine(folder, kind, "int8", 1)
    assert small.precision == "int8"
    answers = whole.run(pictures(8)), small.run(pictures(8))
    assert np.abs(answers[0] - answers[1]).max() < 0.5
    assert not np.array_equal(*answers)


def test_fp32_labelled_int8_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("classifier.onnx", "contract.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "classifier_int8.onnx").write_bytes((folder / "classifier.onnx").read_bytes())
    with pytest.raises(EngineError, match="said to be int8, but OpenVINO runs only 0% of its matrix products on bytes"):
        load_engine(tmp_path, "openvino", "int8", 1)


def static(model: Path, target: Path, exclude: Sequence[str]) -> None:
    quantize(model, pictures(1), target, exclude=exclude, transformer=True)


BOTH_INT8 = pytest.mark.parametrize("to_int8", [static, compress], ids=["static", "dynamic"])
ToInt8 = Callable[[Path, Path, Sequence[str]], None]


@BOTH_INT8
@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        ("cut short", "cannot be quantized"),
        ("not ONNX", "cannot be quantized"),
        ("unknown operator", "cannot be quantized"),
        ("all excluded", "nothing was quantized"),
    ],
)
def test_what_cannot_be_quantized_is_one_clear_error(
    folder: Path, tmp_path: Path, breakage: str, message: str, to_int8: ToInt8
) -> None:
    import onnx

    data, target = (folder / "classifier.onnx").read_bytes(), tmp_path / "int8.onnx"
    target.write_bytes(b"the previous one")
    if breakage == "unknown operator":
        model = onnx.load_from_string(data)
        next(node for node in model.graph.node if node.op_type == "Softmax").op_type = "Abacus"
        data = model.SerializeToString()
    data = {"cut short": data[: len(data) // 2], "not ONNX": b"a letter"}.get(breakage, data)
    (tmp_path / "model.onnx").write_bytes(data)
    exclude = [".*"] if breakage == "all excluded" else []
    with pytest.raises(QuantizationError, match=message):
        to_int8(tmp_path / "model.onnx", target, exclude)
    assert target.read_bytes() == b"the previous one"


@BOTH_INT8
def test_no_space_leaves_the_previous_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to_int8: ToInt8
) -> None:
    target = tmp_path / "int8.onnx"
    target.write_bytes(b"the previous one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tasks.common.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        to_int8(folder / "classifier.onnx", target, [])
    assert target.read_bytes() == b"the previous one"


LABEL = np.array([0, 0, 1, 1, 1, 1])
RIGHT = np.array([-1.0, -1, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("logit", "before", "gap", "accepted", "why"),
    [
        # as good as before
        (RIGHT, RIGHT, 0.01, True, "MCC 1.0000 against 1.0000"),
        # better than before
        (RIGHT, -RIGHT, 0.01, True, "MCC 1.0000 against -1.0000"),
        # one answer lost
        (np.array([-1.0, 1, 1, 1, 1, 1]), RIGHT, 0.01, False, "MCC drops from 1.0000"),
        # the answers hold, a probability does not
        (RIGHT, RIGHT, 0.03, False, "0.0300 exceeds int8.max_probability_gap 0.02"),
    ],
)
def test_int8_is_accepted_only_within_its_limits(
    logit: np.ndarray, before: np.ndarray, gap: float, accepted: bool, why: str
) -> None:
    found = decide_int8(
        logit, before, LABEL, gap, weight=np.ones(len(LABEL)), max_mcc_drop=0.005, max_probability_gap=0.02
    )
    assert found.accepted is accepted
    assert why in found.why


def test_the_mcc_that_int8_may_lose_is_that_of_the_weights() -> None:
    one_lost = np.array([-1.0, 1, 1, 1, 1, 1])
    found = [
        decide_int8(one_lost, RIGHT, LABEL, 0.01, weight=weight, max_mcc_drop=0.4, max_probability_gap=0.02)
        for weight in (np.ones(6), prior_weights(LABEL, 0.5))
    ]
    # one of two clear pictures lost: more at one to one than where two thirds are roadwork
    assert [one.accepted for one in found] == [True, False]
