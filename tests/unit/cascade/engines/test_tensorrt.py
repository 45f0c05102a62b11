"""The engine on a GPU, on a double of TensorRT: what it refuses to load, its answers, and threads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from cascade.engines.base import EngineError
from cascade.engines.classifier import ClassifierEngine, Contract, load_contract
from cascade.engines.key import Machine, read_record, record_path, this_machine
from cascade.engines.tensorrt import TensorRTSession, engine_file
from tasks.optimize import cast
from tasks.optimize.onnx_run import open_graph
from tasks.optimize.tensorrt import BuildPlan, ensure_engine
from tests.support import tiny_attention
from tests.support.fake_tensorrt import FakeTensorRT

HERE = Machine(gpu="Double 4090", compute="8.9", driver="580.65.06", tensorrt="11.4.0.106")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    made = FakeTensorRT("tensorrt_11_4")
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    return made


@pytest.fixture
def model(tmp_path: Path, double: FakeTensorRT) -> Path:
    """A folder as the export stage leaves it: graph, contract, engine and record."""
    path = tiny_attention.write(tmp_path / "classifier")
    onnx.save(cast.prepare(onnx.load(path)), path)
    ensure_engine(BuildPlan(path, engine_file(path), (1, 2, 4), "fp32", caches=tmp_path), HERE)
    double.calls.clear()
    return path


def load(model: Path, machine: Machine = HERE, contract: Contract | None = None) -> ClassifierEngine:
    return ClassifierEngine(
        TensorRTSession(engine_file(model), machine, "cpu"), contract or load_contract(model.parent)
    )


@pytest.mark.parametrize("n", [1, 3, 4])
def test_answers_are_those_of_the_graph(model: Path, n: int) -> None:
    engine, batch = load(model), tiny_attention.pictures(n)
    expected = open_graph(onnx.load(model))(batch)["logit"]
    assert np.allclose(engine.run(batch), expected, atol=1e-5)
    assert (engine.name, engine.precision) == ("tensorrt", "fp32")
    engine.close()


def test_threads_do_not_mix_their_answers_up(model: Path) -> None:
    engine, batch = load(model), tiny_attention.pictures(6)
    alone = [float(engine.run(picture[None])[0]) for picture in batch]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda number: float(engine.run(batch[number % 6][None])[0]), range(48)))
    assert together == [alone[number % 6] for number in range(48)]


@pytest.mark.parametrize(
    "batch",
    [
        tiny_attention.pictures(1).astype(np.float32),
        tiny_attention.pictures(1)[:, :4],
        tiny_attention.pictures(6),
        tiny_attention.pictures(1)[:0],
    ],
    ids=["float", "not square", "above max_batch", "empty"],
)
def test_a_batch_that_breaks_the_contract_is_refused(model: Path, batch: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"expected uint8 of shape \(1 to 4, 8x8x3\), got"):
        load(model).run(batch)


def cut(engine: Path) -> None:
    engine.write_bytes(engine.read_bytes()[:-10])


def flip(engine: Path) -> None:
    data = bytearray(engine.read_bytes())
    data[-1] ^= 1
    engine.write_bytes(bytes(data))


def damage_record(engine: Path) -> None:
    record_path(engine).write_text('{"key": {}}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"classifier.engine: cut short: \d+ of \d+ bytes; copy it again, or build it again"),
        (flip, "altered since it was built"),
        (Path.unlink, "classifier.engine: no such file; `dvc repro export` on a machine with an NVIDIA GPU"),
        (damage_record, "not an engine's record"),
        (lambda engine: record_path(engine).unlink(), "without it classifier.engine is not loaded"),
    ],
    ids=["cut short", "altered", "missing", "record of another kind", "no record"],
)
def test_a_damaged_engine_is_refused_unread(
    model: Path, double: FakeTensorRT, damage: Callable[[Path], None], message: str
) -> None:
    damage(engine_file(model))
    with pytest.raises(EngineError, match=message):
        load(model)
    assert double.calls == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gpu": "Other 3090"}, "GPU Double 4090, here Other 3090"),
        ({"compute": "8.6"}, "compute capability 8.9, here 8.6"),
        ({"driver": "575.10"}, "driver 580.65.06, here 575.10"),
        ({"tensorrt": "10.12.0.36"}, "TensorRT 11.4.0.106, here 10.12.0.36"),
    ],
)
def test_an_engine_of_elsewhere_is_refused_unread(
    model: Path, double: FakeTensorRT, change: dict[str, str], words: str
) -> None:
    with pytest.raises(EngineError, match=f"built for {words}.*`dvc repro export` on this machine builds its own"):
        load(model, HERE.model_copy(update=change))
    assert double.calls == []


def test_an_engine_that_the_library_refuses_says_so(model: Path, double: FakeTensorRT) -> None:
    # the record vouches for it, the library has another opinion
    double.__version__ = "11.3.0.99"
    with pytest.raises(EngineError, match=r"TensorRT 11.3.0.99 cannot load it; build it again"):
        load(model)


def test_an_engine_built_for_smaller_batches_than_promised_is_refused(model: Path) -> None:
    contract = Contract.model_validate({**tiny_attention.CONTRACT, "max_batch": 8})
    with pytest.raises(EngineError, match=r"built for 1 to 4 pictures, the contract promises 1 to 8"):
        load(model, contract=contract)


def test_an_engine_of_another_picture_size_is_refused(model: Path) -> None:
    shape = {"dtype": "uint8", "shape": [None, 16, 16, 3]}
    contract = Contract.model_validate({**tiny_attention.CONTRACT, "input": shape})
    with pytest.raises(EngineError, match="promises uint8"):
        load(model, contract=contract)


def test_the_session_gives_every_output_by_name(model: Path) -> None:
    session = TensorRTSession(engine_file(model), HERE, "cpu")
    assert (session.input.name, session.outputs, session.batches) == ("image", ("logit",), (1, 4))
    with pytest.raises(EngineError, match="takes 1 to 4 pictures, got 5"):
        session.run(tiny_attention.pictures(5))
    assert read_record(engine_file(model)).size == engine_file(model).stat().st_size


def test_without_a_gpu_or_the_library_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"TensorRT cannot be imported .*uv sync .*--extra gpu"):
        this_machine()
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRT())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match="needs an NVIDIA GPU"):
        this_machine()
