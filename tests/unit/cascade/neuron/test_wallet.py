"""The hotkey: real key files, none of whose contents is shown, and no question at the terminal."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from cascade.config.neuron import NeuronParams
from cascade.neuron.wallet import WalletError, has_coldkeypub, open_wallet
from tests.support.neuron import MINER, address, write_wallet


@pytest.fixture
def params(tmp_path: Path) -> NeuronParams:
    write_wallet(tmp_path)
    return NeuronParams(wallet_path=tmp_path, wallet="miner", hotkey="hot")


def test_the_hotkey_alone_is_enough(params: NeuronParams, caplog: pytest.LogCaptureFixture) -> None:
    assert open_wallet(params).hotkey.ss58_address == address(MINER)
    assert not has_coldkeypub(params)
    assert caplog.text == ""


def test_a_missing_hotkey_is_named_with_what_to_do(params: NeuronParams) -> None:
    with pytest.raises(WalletError, match=r"no hotkey at .*hotkeys/cold: .*btcli wallet new_hotkey"):
        open_wallet(params.model_copy(update={"hotkey": "cold"}))


def test_a_coldkey_on_this_machine_is_told(params: NeuronParams, caplog: pytest.LogCaptureFixture) -> None:
    (params.wallet_path / "miner" / "coldkey").write_text("secret words")
    with caplog.at_level(logging.WARNING, "streetvision"):
        open_wallet(params)
    assert "move it away" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"secretPhrase": "secret words"}), "secret words"])
def test_a_damaged_hotkey_is_not_repeated(params: NeuronParams, content: str) -> None:
    (params.wallet_path / "miner" / "hotkeys" / "hot").write_text(content)
    with pytest.raises(WalletError) as caught:
        open_wallet(params)
    assert "hotkeys/hot" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_encrypted_hotkey_is_never_asked_for(params: NeuronParams) -> None:
    # the mark that bittensor writes before what it encrypts; encrypting takes seconds
    (params.wallet_path / "miner" / "hotkeys" / "hot").write_bytes(b"$NACL" + bytes(100))
    with pytest.raises(WalletError, match=r"is encrypted, and BT_PW_\S+ is not set"):
        open_wallet(params)
