"""What keeps a miner from starting, each said in one line before bittensor is loaded."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cascade.neuron.app import app
from cascade.process.ready import free_port
from tests.support.neuron import write_metagraph, write_wallet


@pytest.fixture
def section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Section `neuron` with which a miner would start, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_wallet(tmp_path / "wallets")
    write_metagraph(tmp_path / "metagraph.json")
    return {
        "wallet_path": "wallets",
        "wallet": "miner",
        "hotkey": "hot",
        "metagraph": "metagraph.json",
        "host": "127.0.0.1",
        "port": free_port("127.0.0.1", 18_191),
        "metrics_port": free_port("127.0.0.1", 18_692),
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # a key that no model knows, and a value out of range
        ({"netuidd": 72}, "neuron.netuidd"),
        ({"port": 80}, "neuron.port"),
        ({"hotkey": "other"}, "no hotkey at wallets/miner/hotkeys/other"),
        ({"metagraph": "none.json"}, "none.json: No such file"),
        # on the chain: without an address nobody could reach the miner, and the chain is told of the coldkey
        ({"metagraph": None}, "neuron.external_ip is not set"),
        ({"metagraph": None, "external_ip": "203.0.113.7"}, "coldkeypub.txt is missing"),
        # an address of another machine
        ({"host": "203.0.113.7"}, "203.0.113.7:.* cannot be listened on"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(section: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    Path("params.yaml").write_text(yaml.safe_dump({"neuron": {**section, **changes}}))
    loaded = "bittensor" in sys.modules
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 1
    assert re.search(message, result.output), result.output
    assert len(result.output.splitlines()) <= 2
    assert ("bittensor" in sys.modules) == loaded


@pytest.mark.parametrize("key", ["port", "metrics_port"])
def test_a_port_that_is_taken_is_named_with_its_holder(section: dict[str, Any], key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        Path("params.yaml").write_text(yaml.safe_dump({"neuron": {**section, key: taken.getsockname()[1]}}))
        result = CliRunner().invoke(app, [])
    assert result.exit_code == 1
    assert f"holds it; set neuron.{key} to another one" in result.output
