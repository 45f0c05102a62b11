"""The hotkey of the miner. The coldkey is not needed on this machine, and nothing here asks for a secret."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.config.neuron import NeuronParams

if TYPE_CHECKING:
    from bittensor_wallet import Wallet

log = logging.getLogger("streetvision")


class WalletError(RuntimeError):
    """The hotkey cannot be used."""


def open_wallet(params: NeuronParams) -> Wallet:
    """Give the wallet with its hotkey loaded; no password is asked for, and nothing of the key is logged.

    Raises:
        WalletError: the hotkey is missing, encrypted without its password in the environment, or damaged.
    """
    from bittensor_wallet import Wallet

    folder = params.wallet_path.expanduser() / params.wallet
    file = folder / "hotkeys" / params.hotkey
    if not file.is_file():
        raise WalletError(
            f"no hotkey at {file}: make it where the coldkey is (`btcli wallet new_hotkey`), copy this file and "
            "coldkeypub.txt here, and set neuron.wallet_path, neuron.wallet and neuron.hotkey"
        )
    if (folder / "coldkey").exists():
        log.warning("neuron.coldkey %s is on this machine; the miner needs the hotkey alone, so move it away", folder)
    wallet = Wallet(name=params.wallet, hotkey=params.hotkey, path=str(params.wallet_path.expanduser()))
    _check_password(wallet, file)
    try:
        wallet.hotkey  # noqa: B018  # reads the file
    except Exception as error:
        # its text could repeat what the file holds
        raise WalletError(f"{file} is no readable hotkey ({type(error).__name__})") from None
    return wallet


def has_coldkeypub(params: NeuronParams) -> bool:
    """Whether the public half of the coldkey is there, which publishing the axon needs."""
    return (params.wallet_path.expanduser() / params.wallet / "coldkeypub.txt").is_file()


def _check_password(wallet: Wallet, file: Path) -> None:
    """Refuse an encrypted hotkey for which bittensor would ask at the terminal."""
    if not wallet.hotkey_file.is_encrypted():
        return
    variable = wallet.hotkey_file.env_var_name()
    if variable not in os.environ:
        raise WalletError(f"{file} is encrypted, and {variable} is not set (bittensor has `save_password_to_env`)")
