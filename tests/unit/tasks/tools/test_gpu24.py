"""The budget of profile gpu24: every combination of stages that can be loaded at once stays below its limit."""

from __future__ import annotations

import math
from itertools import chain, combinations, permutations
from pathlib import Path

import pytest

from cascade.core.memory import GIB, MemoryManager
from tasks.config import Params, load_params
from tasks.tools.profile import switch
from tests.support.paths import ROOT
from tests.unit.cascade.core.test_memory import Ledger, Weight
from tests.unit.tasks.tools.test_profile import PINNED

STAGES = ("classifier", "detectors", "vlm", "ocr")
# a card that is sold with 24 GB has a little less for programs; the driver's count for the whole profile
CARD_GIB, LIMIT_GIB = 23.5, 22.0


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Params:
    path = tmp_path_factory.mktemp("gpu24") / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    switch("gpu24", PINNED, path)
    return load_params(path)


def sizes(params: Params, *, quantized: bool) -> dict[str, float]:
    """What is set aside for each stage on the card, GiB."""
    vlm = params.quantize.memory_gib if quantized else params.vlm.server.memory_gib
    assert vlm is not None
    return {**params.memory.sizes_gib, "vlm": vlm}


def test_every_stage_has_a_size_and_belongs_on_the_card(params: Params) -> None:
    assert set(sizes(params, quantized=True)) == set(STAGES) == set(params.memory.gpu_stages)
    assert params.memory.gpu_gib <= LIMIT_GIB < CARD_GIB


def test_in_awq_all_combinations_fit_at_once(params: Params) -> None:
    given = sizes(params, quantized=True)
    every = list(chain.from_iterable(combinations(STAGES, count) for count in range(1, len(STAGES) + 1)))
    assert len(every) == 15
    for stages in every:
        assert sum(given[name] for name in stages) <= LIMIT_GIB, stages


def names_loaded(given: dict[str, float], limit: float, order: tuple[str, ...]) -> tuple[float, list[str]]:
    """Use stages in an order, the classifier pinned; gives the most GiB at once, and what is loaded at the end."""
    ledger = Ledger()
    manager = MemoryManager(int(limit * GIB), kind="GPU memory")
    for name in STAGES:
        size = int(given[name] * GIB)
        manager.add(Weight(name, size, ledger), size, pinned=name == "classifier")
    manager.check()
    for name in ("classifier", *order):
        with manager.use(name, seconds=1):
            pass
    return ledger.most / GIB, manager.loaded()


@pytest.mark.parametrize("quantized", [True, False])
def test_whatever_the_order_the_limit_holds(params: Params, quantized: bool) -> None:
    given = sizes(params, quantized=quantized)
    for order in permutations(("detectors", "vlm", "ocr", "detectors", "vlm")):
        most, loaded = names_loaded(given, params.memory.gpu_gib, order)
        assert most <= LIMIT_GIB, order
        assert "classifier" in loaded
        # in fp8 one of the others has to leave; in AWQ none
        assert (len(loaded) == len(STAGES)) == quantized or not quantized


def test_the_servers_take_no_more_than_is_set_aside(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    from cascade.process.card import CardMemory
    from cascade.vlm import server
    from cascade.vlm.backend import ServerVlm
    from cascade.vlm.settings import VlmSettings
    from tests.support.vlm_settings import GIVEN

    card = int(CARD_GIB * GIB)
    monkeypatch.setattr(server, "card_memory", lambda: CardMemory(0, card))
    given = params.vlm.server.model_dump(mode="json")
    for memory_gib in sizes(params, quantized=True)["vlm"], sizes(params, quantized=False)["vlm"]:
        settings = VlmSettings.model_validate(
            {**GIVEN, "backend": "server", "device": "cuda", "clip_model": {"folder": "clip"},
             "server": {**given, "memory_gib": memory_gib}}
        )  # fmt: skip
        backend = ServerVlm(Path("none"), settings)
        for made in backend.servers.values():
            command = made.command()
            share = float(command[command.index("--gpu-memory-utilization") + 1])
            # one is awake, the other keeps its context
            assert share * CARD_GIB + params.vlm.server.sleeping_gib <= memory_gib
            assert share * CARD_GIB == pytest.approx(memory_gib - params.vlm.server.sleeping_gib, abs=0.001 * CARD_GIB)
            assert math.isclose(share, round(share, 3))
        assert backend.memory_bytes == int(memory_gib * GIB)
        backend.close()


def test_what_the_detectors_get_at_once_is_what_they_were_built_for(params: Params) -> None:
    assert params.detect.max_batch == params.timeouts.batch


def test_no_stage_of_the_profile_is_set_to_the_processor(params: Params) -> None:
    assert (params.vlm.device, params.ocr.device, params.ocr.backend) == ("cuda", "cuda", "florence2")
    assert (params.export.engine, params.detect.engine) == ("auto", "auto")
    assert (params.export.precision, params.detect.precision.yolo, params.detect.precision.detr) == ("fp16",) * 3
