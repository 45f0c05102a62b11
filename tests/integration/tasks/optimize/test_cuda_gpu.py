"""CUDA graphs on a real GPU: verified, served, measured, given back. Run by `pytest -m gpu` where torch sees one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cascade.engines.classifier import ClassifierEngine, load_contract
from cascade.engines.torch_cuda import TorchCudaSession
from cascade.process.memory import Meter
from tasks.optimize.cuda_engines import verify_on_card
from tasks.optimize.onnx_run import open_graph
from tasks.optimize.parity import ParityLimits, ParityReference, run_all
from tasks.optimize.verify import EngineRequest
from tests.support import tiny_attention


def has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


pytestmark = [pytest.mark.gpu, pytest.mark.integration, pytest.mark.skipif(not has_gpu(), reason="no GPU")]
LIMITS = ParityLimits(cosine=0.999, probability_gap=0.02)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_graph_is_verified_and_served_on_the_card(tmp_path: Path, precision: Any) -> None:
    source, pictures = tiny_attention.write(tmp_path / "classifier"), tiny_attention.pictures()
    reference = run_all(open_graph(onnx.load(source)), pictures)
    request = EngineRequest(source, precision, (1, 2, 4), LIMITS)
    report = verify_on_card(request, ParityReference(pictures, reference))
    assert report["device"] == "cuda"
    meter = Meter("cuda")
    session = TorchCudaSession(source, precision, (1, 2, 4))
    assert meter.taken() > 0
    engine = ClassifierEngine(session, load_contract(source.parent))
    assert (engine.device, engine.precision) == ("cuda", precision)
    for count in (1, 2, 3, 4):
        assert np.abs(engine.run(pictures[:count]) - reference["logit"][:count]).max() < 0.1
    engine.close()


def test_threads_get_their_own_answers(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    source, pictures = tiny_attention.write(tmp_path / "classifier"), tiny_attention.pictures()
    wanted = run_all(open_graph(onnx.load(source)), pictures)["logit"]
    session = TorchCudaSession(source, "fp32", (1, 2))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda turn: session.run(pictures[turn % 6 :][:2])["logit"], range(60)))
    for turn, logit in enumerate(found):
        assert np.abs(logit - wanted[turn % 6 :][:2]).max() < 0.01
    session.close()
