"""Whom the miner answers, as tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cascade.config.neuron import NeuronParams
from cascade.neuron.metagraph import Metagraph, MetagraphError, read_file
from cascade.neuron.rules import priority, refusal

METAGRAPH = Metagraph(
    hotkeys=("validator", "miner", "poor"), stake=(1000.0, 0.0, 5.0), validator_permit=(True, False, True)
)
OPEN = {"allow_non_registered": True, "force_validator_permit": False}


@pytest.mark.parametrize(
    ("hotkey", "rules", "expected"),
    [
        # no hotkey is never answered, whatever the rules
        (None, {}, "no_hotkey"),
        ("", OPEN, "no_hotkey"),
        # the default asks for registration and a permit
        ("stranger", {}, "unregistered"),
        ("miner", {}, "no_permit"),
        ("validator", {}, None),
        ("poor", {}, None),
        # without the permit every registered one is answered
        ("miner", {"force_validator_permit": False}, None),
        ("stranger", {"force_validator_permit": False}, "unregistered"),
        # who is not registered has no permit, and so both rules have to be off
        ("stranger", {"allow_non_registered": True}, "no_permit"),
        ("stranger", OPEN, None),
        # the least stake: exactly enough is enough
        ("poor", {"minimum_stake": 5.0}, None),
        ("poor", {"minimum_stake": 5.1}, "stake"),
        ("validator", {"minimum_stake": 5.1}, None),
        ("stranger", {**OPEN, "minimum_stake": 0.1}, "stake"),
        # addresses are compared as they are
        ("Validator", {}, "unregistered"),
        (" validator", {}, "unregistered"),
    ],
)
def test_who_is_refused(hotkey: str | None, rules: dict[str, Any], expected: str | None) -> None:
    assert refusal(hotkey, METAGRAPH, NeuronParams(**rules)) == expected


def test_nobody_is_answered_while_the_metagraph_is_empty() -> None:
    assert refusal("validator", Metagraph(), NeuronParams()) == "unregistered"


@pytest.mark.parametrize(
    ("hotkey", "expected"), [("validator", 1000.0), ("miner", 0.0), ("stranger", 0.0), (None, 0.0)]
)
def test_the_stake_is_the_priority(hotkey: str | None, expected: float) -> None:
    assert priority(hotkey, METAGRAPH) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("", "Invalid JSON"),
        ("[]", "object"),
        # lists that do not belong together
        (json.dumps({"hotkeys": ["a"], "stake": [], "validator_permit": []}), "one entry a uid"),
        (json.dumps({"hotkeys": ["a"], "stake": ["x"], "validator_permit": [True]}), "stake"),
        # a mistyped key would leave a list empty
        (json.dumps({"hotkey": ["a"]}), "hotkey"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "metagraph.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(MetagraphError, match=rf"metagraph\.json: .*{message}"):
        read_file(file)


def test_the_doctor_and_the_neuron_read_one_file(tmp_path: Path) -> None:
    from tasks.doctor.miner.metagraph import parse

    file = tmp_path / "metagraph.json"
    text = '{"hotkeys": ["5G"], "axons": ["203.0.113.7:8091"], "validator_permit": [true], "stake": [2.0]}'
    file.write_text(text)
    ours, theirs = read_file(file).find("5G"), parse(text, str(file)).find("5G")
    assert ours is not None
    assert theirs is not None
    assert (ours.uid, ours.stake, ours.has_permit) == (theirs.uid, theirs.stake, theirs.permit)
