"""The classifier in every library: what is refused, that logits agree, and that threads get their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cascade.engines.base import EngineError, Kind, Precision
from cascade.engines.classifier import ClassifierEngine, load_engine
from cascade.engines.openvino import compile_settings
from tests.support import tiny

KINDS: list[Kind] = ["openvino", "onnxruntime", "torch"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module", params=KINDS)
def engine(folder: Path, request: pytest.FixtureRequest) -> Iterator[ClassifierEngine]:
    loaded = load_engine(folder, request.param, "fp32", 1)
    yield loaded
    loaded.close()


def batch_of(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)


def expected(batch: np.ndarray) -> np.ndarray:
    top = batch[:, : tiny.SIZE // 2].astype(np.float64)
    return 10 * (top[..., 0] - top[..., 2]).mean((1, 2)) / 255


@pytest.mark.parametrize(
    "batch",
    [
        batch_of(1).astype(np.float32),
        batch_of(1)[0],
        batch_of(2)[:, :200],
        np.moveaxis(batch_of(1), 3, 1),
        batch_of(1)[:0],
        batch_of(33),
    ],
    ids=["float", "no batch axis", "not square", "channels first", "empty", "above max_batch"],
)
def test_a_batch_that_breaks_the_contract_is_refused(engine: ClassifierEngine, batch: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"expected uint8 of shape \(1 to 32, 224x224x3\), got"):
        engine.run(batch)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        ("no model", "classifier.onnx: no such file"),
        ("no contract", "contract.json: no such file"),
        ("contract of another kind", "not a contract"),
        ("contract is not JSON", "not a contract"),
        ("model is text", "cannot load"),
        ("model is cut short", "cannot load"),
        ("unsupported operator", "cannot load"),
        ("model takes floats", "takes .*but contract.json promises uint8"),
        ("model of another size", "takes uint8 .*but contract.json promises"),
        ("output of another name", "promises answer"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path, kind: Kind, breakage: str, message: str) -> None:
    dtype = "float32" if breakage == "model takes floats" else "uint8"
    tiny.write_classifier(tmp_path, dtype=dtype, size=112 if breakage == "model of another size" else 224)
    model, contract = tmp_path / "classifier.onnx", tmp_path / "contract.json"
    match breakage:
        case "no model":
            model.unlink()
        case "no contract":
            contract.unlink()
        case "contract of another kind":
            contract.write_text(json.dumps({**tiny.CONTRACT, "surprise": 1}))
        case "contract is not JSON":
            contract.write_text("{")
        case "model is text":
            model.write_text("a letter")
        case "model is cut short":
            model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
        case "unsupported operator":
            model.write_bytes(model.read_bytes().replace(b"Flatten", b"Abacus7"))
        case "output of another name":
            contract.write_text(json.dumps({**tiny.CONTRACT, "output": {"name": "answer", "shape": [None]}}))
    with pytest.raises(EngineError, match=message):
        load_engine(tmp_path, kind, "fp32", 1)


def test_an_unknown_engine_is_refused(folder: Path) -> None:
    with pytest.raises(EngineError, match="'abacus' is unknown"):
        load_engine(folder, "abacus", "fp32", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_logit_that_is_no_number_is_refused(tmp_path: Path, kind: Kind) -> None:
    engine = load_engine(tiny.write_classifier(tmp_path, gain=float("nan")), kind, "fp32", 1)
    with pytest.raises(EngineError, match="finite"):
        engine.run(batch_of(1))


@pytest.mark.parametrize("n", [1, 2, 7, 32])
def test_logits_are_what_the_graph_says(engine: ClassifierEngine, n: int) -> None:
    logit = engine.run(batch_of(n))
    assert (logit.shape, logit.dtype) == ((n,), np.float32)
    assert logit == pytest.approx(expected(batch_of(n)), abs=1e-3)


def test_threads_get_their_own_answers(engine: ClassifierEngine) -> None:
    batches = [batch_of(n % 5 + 1) for n in range(60)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(engine.run, batches))
    for batch, answer in zip(batches, answers, strict=True):
        assert answer == pytest.approx(expected(batch), abs=1e-3)


def test_precision_says_what_is_in_force(folder: Path) -> None:
    import openvino

    able = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert load_engine(folder, "openvino", "bf16", 1).precision == ("bf16" if able else "fp32")
    assert load_engine(folder, "openvino", "fp32", 1).precision == "fp32"
    assert load_engine(folder, "onnxruntime", "bf16", 1).precision == "fp32"


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_two_processes_of_one_thread_need_not_share_a_core(folder: Path, precision: Precision) -> None:
    """OpenVINO pins threads unless told not to, and every process begins at the same core."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(folder / "classifier.onnx", "CPU", compile_settings(core, precision, 1))
    assert compiled.get_property("ENABLE_CPU_PINNING") is False
