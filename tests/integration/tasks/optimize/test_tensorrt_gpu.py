"""The real TensorRT on a real GPU: build, verify, load, refuse. Run by `pytest -m gpu` where both are there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from cascade.engines.base import EngineError
from cascade.engines.classifier import ClassifierEngine, load_contract
from cascade.engines.key import this_machine
from cascade.engines.tensorrt import TensorRTSession, engine_file
from tasks.optimize.onnx_run import open_graph
from tasks.optimize.parity import ParityLimits, ParityReference, run_all
from tasks.optimize.verify import EngineRequest, export_engine
from tests.support import tiny_attention


def has_gpu() -> bool:
    if importlib.util.find_spec("tensorrt") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


pytestmark = [pytest.mark.gpu, pytest.mark.integration, pytest.mark.skipif(not has_gpu(), reason="no GPU or TensorRT")]
LIMITS = ParityLimits(cosine=0.999, probability_gap=0.02)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_real_engine_is_built_verified_and_served(tmp_path: Path, precision: str) -> None:
    source, pictures = tiny_attention.write(tmp_path / "classifier"), tiny_attention.pictures()
    reference = run_all(open_graph(onnx.load(source)), pictures)
    request = EngineRequest(source, precision, (1, 2, 4), LIMITS, caches=tmp_path)  # type: ignore[arg-type]
    report = export_engine(request, ParityReference(pictures, reference))
    assert report["half_layers"]["share"] >= (0.5 if precision == "fp16" else 0.0)
    engine = ClassifierEngine(TensorRTSession(engine_file(source)), load_contract(source.parent))
    assert np.abs(engine.run(pictures[:4]) - reference["logit"][:4]).max() < 0.1
    engine.close()
    # a second call finds it and builds nothing; the timing cache is there for the next build
    assert export_engine(request, ParityReference(pictures, reference))["bytes"] == report["bytes"]
    assert list(tmp_path.glob("*.cache"))


def test_a_real_engine_of_elsewhere_is_refused(tmp_path: Path) -> None:
    source, pictures = tiny_attention.write(tmp_path / "classifier"), tiny_attention.pictures()
    reference = run_all(open_graph(onnx.load(source)), pictures)
    export_engine(
        EngineRequest(source, "fp32", (1, 2, 4), LIMITS, caches=tmp_path), ParityReference(pictures, reference)
    )
    other = this_machine().model_copy(update={"driver": "1.0"})
    with pytest.raises(EngineError, match=r"here 1\.0"):
        TensorRTSession(engine_file(source), other)
    engine_file(source).write_bytes(engine_file(source).read_bytes()[:-1])
    with pytest.raises(EngineError, match="cut short"):
        TensorRTSession(engine_file(source))
