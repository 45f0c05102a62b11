"""Which engine runs the detectors, and which batch sizes they are built for."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cascade.engines import select
from cascade.engines.base import EngineError
from tasks.config import DetectParams, Params, load_params
from tasks.detection.detect import _with_engine
from tasks.detection.export import contract_of
from tests.support.paths import ROOT

PARAMS = load_params(ROOT / "params.yaml")


def params(engine: str, gpu_gib: float) -> Params:
    return PARAMS.model_copy(
        update={
            "detect": PARAMS.detect.model_copy(update={"engine": engine}),
            "memory": PARAMS.memory.model_copy(update={"gpu_gib": gpu_gib}),
        }
    )


@pytest.mark.parametrize(
    ("engine", "gpu_gib", "card", "expected"),
    [
        # a card without TensorRT
        ("auto", 22, True, "torch_cuda"),
        # a profile without one, on a machine that has one; and the other way round
        ("auto", 0, True, "openvino"),
        ("auto", 22, False, "openvino"),
        # one that is named stays
        ("onnxruntime", 22, True, "onnxruntime"),
        ("torch_cuda", 22, False, None),
        ("torch_cuda", 0, True, None),
    ],
)
def test_auto_is_replaced_by_an_engine_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, engine: str, gpu_gib: float, card: bool, expected: str | None
) -> None:
    monkeypatch.setitem(select.OBSTACLES, "tensorrt", lambda _: "not installed")
    monkeypatch.setitem(select.OBSTACLES, "torch_cuda", lambda _: None if card else "no GPU")
    if expected is None:
        with pytest.raises(EngineError, match=r"Set detect\.engine to"):
            _with_engine(params(engine, gpu_gib))
        return
    assert _with_engine(params(engine, gpu_gib)).detect.engine == expected


class Square:
    """A detector that knows its size."""

    size = 64


def test_a_contract_names_batch_and_graphs() -> None:
    given = PARAMS.detect.model_copy(update={"max_batch": 8, "graphs": (1, 8)})
    contract = contract_of(Square(), "yolo", given)
    assert (contract.max_batch, contract.graphs) == (8, (1, 8))
    # as it was before there were graphs: what DVC tracks of the small profile stays
    assert "graphs" not in contract_of(Square(), "yolo", PARAMS.detect).model_dump(exclude_defaults=True)


@pytest.mark.parametrize("graphs", [[1, 32], [0]])
def test_graphs_that_no_batch_has_are_refused(graphs: list[int]) -> None:
    with pytest.raises(ValidationError, match="graphs"):
        DetectParams.model_validate({**PARAMS.detect.model_dump(), "graphs": graphs})
