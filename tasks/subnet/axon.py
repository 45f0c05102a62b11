"""An axon as a miner: the dendrite of `bittensor` asks it, signed by a key, as a validator does and without a chain."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple, Self

from cascade.extras import require
from tasks.subnet.miners import Miner, MinerError

# a key that anyone can make from its name; the miner's metagraph has to list it as a validator
VALIDATOR = "//Validator"


class AxonAddress(NamedTuple):
    """Where an axon listens, and the address of the hotkey that it answers with."""

    host: str
    port: int
    hotkey: str


class AxonMiner(Miner):
    """A real axon; what it refuses, such as an unknown validator, is a failed answer."""

    def __init__(self, name: str, address: AxonAddress, validator: str = VALIDATOR) -> None:
        super().__init__(name)
        self._address, self._validator = address, validator

    async def __aenter__(self) -> Self:
        """See `Miner`."""
        require("streetvision simulate --axon", "bittensor")
        host, port, hotkey = self._address
        info = import_module("bittensor.core.chain_data").AxonInfo
        self._axon = info(version=1, ip=host, port=port, ip_type=4, hotkey=hotkey, coldkey=hotkey)
        key = import_module("bittensor_wallet").Keypair.create_from_uri(self._validator)
        self._dendrite, self._synapse = _dendrite(key), _synapse_class()
        return self

    async def __aexit__(self, *_: object) -> None:
        """See `Miner`."""
        await self._dendrite.aclose_session()

    async def answer(self, image: str, seconds: float) -> float:
        """See `Miner`."""
        asked = self._synapse(image=image)
        # the caller ends the wait; a reply that comes at the last moment counts as it does for a validator
        found = await self._dendrite.call(self._axon, asked, timeout=seconds, deserialize=False)
        status = int(found.dendrite.status_code or 0)
        if status == 408:
            raise TimeoutError
        if status != 200:
            raise MinerError(f"status {status}: {found.dendrite.status_message}")
        return float(found.prediction)


def parse_axon(text: str) -> AxonAddress:
    """Read `HOST:PORT/HOTKEY`.

    Raises:
        MinerError: it is of another shape.
    """
    place, _, hotkey = text.partition("/")
    host, _, port = place.rpartition(":")
    if not (host and port.isdigit() and hotkey):
        raise MinerError(f"--axon {text}: expected HOST:PORT/HOTKEY, where HOTKEY is the miner's ss58 address")
    return AxonAddress(host, int(port), hotkey)


def _dendrite(key: Any) -> Any:
    """A dendrite that states the loopback address as its own, rather than asking web sites for it."""
    networking: Any = import_module("bittensor.utils.networking")
    asking = networking.get_external_ip
    networking.get_external_ip = lambda: "127.0.0.1"
    try:
        return import_module("bittensor.core.dendrite").Dendrite(wallet=key)
    finally:
        networking.get_external_ip = asking


def _synapse_class() -> Any:
    """The subnet's class by its name and fields (natix/protocol.py), which stand on the wire."""
    from pydantic import create_model

    base = import_module("bittensor.core.synapse").Synapse
    fields: dict[str, Any] = {"testnet_label": (int, -1), "image": (str, ""), "prediction": (float, -1.0)}
    return create_model("ImageSynapse", __base__=base, **fields)
