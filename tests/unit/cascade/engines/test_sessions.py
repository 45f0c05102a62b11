"""One session a library, whatever the model: what it says about the model, its outputs by name, what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cascade.engines.base import EngineError, Kind, Session
from cascade.engines.boxes import BoxEngine
from cascade.engines.classifier import load_engine
from cascade.engines.load import open_session
from cascade.engines.pool import Pool
from tests.support import tiny
from tests.support.tiny_detector import ANCHORS, CLASSES, SIZE, write_detector

KINDS: list[Kind] = ["openvino", "onnxruntime", "torch"]


@pytest.fixture(params=KINDS)
def session(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Session]:
    folder = write_detector(tmp_path / "yolo", "yolo")
    opened = open_session(folder / "detector.onnx", request.param, "fp32", 1, fixed_one=True)
    yield opened
    opened.close()


def squares(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)


def expected(batch: np.ndarray) -> np.ndarray:
    """Scores of the tiny detector, (n, anchors, classes): how red the pixel at each anchor's centre is."""
    reals = batch.astype(np.float64) / 255
    scores = np.zeros((len(batch), len(ANCHORS), len(CLASSES)))
    for index, (name, (x1, y1, x2, y2)) in enumerate(ANCHORS):
        red, green, blue = reals[:, (y1 + y2) // 2, (x1 + x2) // 2].T
        scores[:, index, CLASSES.index(name)] = red - (green + blue) / 2
    return scores


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_two_inputs_is_refused(tmp_path: Path, kind: Kind) -> None:
    pixels = [helper.make_tensor_value_info(name, TensorProto.UINT8, ["batch", 4, 4, 3]) for name in ("a", "b")]
    node = helper.make_node("Where", ["mask", "a", "b"], ["c"])
    mask = onnx.numpy_helper.from_array(np.array([True]), "mask")
    output = helper.make_tensor_value_info("c", TensorProto.UINT8, ["batch", 4, 4, 3])
    graph = helper.make_graph([node], "two", pixels, [output], [mask])
    path = tmp_path / "two.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(EngineError, match=r"two.onnx: takes \['a', 'b'\]; expected one input"):
        open_session(path, kind, "fp32", 1)


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        (squares(2)[0], r"uint8 \(64, 64, 3\)"),  # no batch axis
        (squares(2)[:, :-1], r"uint8 \(2, 63, 64, 3\)"),  # not square; OpenVINO computes it all the same
        (squares(2).astype(np.float32), r"float32 \(2, 64, 64, 3\)"),
    ],
)
def test_a_batch_that_does_not_fit_the_model_is_refused(session: Session, batch: np.ndarray, got: str) -> None:
    with pytest.raises(EngineError, match=rf"detector.onnx: takes uint8 \(None, 64, 64, 3\), got {got}"):
        session.run(batch)


def test_a_session_describes_its_model(session: Session) -> None:
    assert (session.input.name, session.input.dtype, session.input.shape) == ("image", "uint8", (None, SIZE, SIZE, 3))
    assert session.outputs == ("corners", "scores")
    assert (session.device, session.precision, session.int8_share, session.batches) == ("cpu", "fp32", None, None)
    assert session.file.name == "detector.onnx"


@pytest.mark.parametrize("n", [1, 2, 5])
def test_outputs_are_given_by_name(session: Session, n: int) -> None:
    found = session.run(squares(n))
    assert set(found) == {"corners", "scores"}
    assert found["corners"].shape == (n, len(ANCHORS), 4)
    assert np.allclose(found["scores"], expected(squares(n)), atol=1e-5)


def test_answers_stay_as_they_are_while_the_session_computes_others(session: Session) -> None:
    first = session.run(squares(1))["scores"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: session.run(squares(n % 3 + 1)), range(30)))
    assert np.allclose(first, expected(squares(1)), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "precision", "share"),
    [
        # OpenVINO says what its kernels multiply: none of an fp32 graph's layers are int8
        ("openvino", "fp32", 0.0),
        # ONNX Runtime does not tell; the file's name stands
        ("onnxruntime", "int8", None),
        ("torch", "fp32", None),
    ],
)
def test_precision_of_an_fp32_graph_that_is_called_int8(
    tmp_path: Path, kind: Kind, precision: str, share: float | None
) -> None:
    import openvino

    model = tiny.write_classifier(tmp_path) / "classifier.onnx"
    able = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    session = open_session(model, kind, "int8", 1)
    assert session.precision == ("bf16" if able and kind == "openvino" else precision)
    assert session.int8_share == share


def test_both_wrappers_say_device_and_precision_in_force(tmp_path: Path) -> None:
    # ONNX Runtime computes no bf16 on a processor, whatever a contract asks for
    boxes = BoxEngine(write_detector(tmp_path / "yolo", "yolo", precision="bf16"), "onnxruntime", 1)
    assert (boxes.device, boxes.precision) == ("cpu", "fp32")
    engine = load_engine(tiny.write_classifier(tmp_path / "classifier"), "onnxruntime", "bf16", 1)
    assert (engine.name, engine.device, engine.precision) == ("onnxruntime", "cpu", "fp32")


def test_a_pool_lends_each_item_to_one_thread_at_a_time() -> None:
    pool = Pool(["only"])
    with ThreadPoolExecutor(1) as threads:
        with pool.borrow():
            waiting = threads.submit(lambda: pool.borrow().__enter__())
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.1)
        assert waiting.result(timeout=5) == "only"


def test_a_pool_takes_an_item_back_after_an_error() -> None:
    pool = Pool(["only"])
    with pytest.raises(KeyError), pool.borrow():
        raise KeyError
    with pool.borrow() as item:
        assert item == "only"
