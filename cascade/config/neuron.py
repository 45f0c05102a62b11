"""Section `neuron`: the miner of the subnet."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cascade.config.base import PARAMS_FILE, Section, read_sections, validated


class NeuronParams(Section):
    """Section `neuron`: the axon, whom it answers, and the service that it asks.

    Attributes:
        service: address of the service.
        key_env: name of the variable with the service's API key; None: it has none.
        netuid: of the subnet; 323 on the test network.
        network: `finney`, `test`, or the address of a node.
        metagraph: JSON file to read instead of the chain; then nothing is published either.
        metagraph_seconds: between two reads of the metagraph.
        external_ip: that validators reach; has to be given before the axon can be published.
        external_port: None: `port`.
        metrics_port: on loopback.
        force_validator_permit: refuse hotkeys without a validator's permit.
        allow_non_registered: answer hotkeys that the metagraph lacks; they have no permit and no stake.
        minimum_stake: in the metagraph's unit.
        timeout_seconds: of a validator that names none, and the most that is believed.
        margin_seconds: of the time-out, kept for the way back; at most a quarter of it.
        max_bytes: a picture.
        max_requests: that are answered at once; a further one gets 503.
        at_once: requests to the service at a time; others wait, the highest stake first.
        model_url: sent along where the validator's protocol has the field.
    """

    service: str = "http://127.0.0.1:8080"
    key_env: str | None = None
    netuid: int = Field(default=72, ge=0)
    network: str = "finney"
    metagraph: Path | None = None
    metagraph_seconds: float = Field(default=300.0, gt=0)
    wallet_path: Path = Path("~/.bittensor/wallets")
    wallet: str = "default"
    hotkey: str = "default"
    host: str = "0.0.0.0"  # noqa: S104  # validators come from outside
    port: int = Field(default=8091, gt=1024, lt=65535)
    external_ip: str | None = None
    external_port: int | None = Field(default=None, gt=1024, lt=65535)
    metrics_port: int = Field(default=8092, ge=0, le=65535)
    force_validator_permit: bool = True
    allow_non_registered: bool = False
    minimum_stake: float = Field(default=0.0, ge=0)
    timeout_seconds: float = Field(default=9.0, gt=0)
    margin_seconds: float = Field(default=1.0, ge=0)
    max_bytes: int = Field(default=10_000_000, ge=1)
    max_requests: int = Field(default=64, ge=1)
    at_once: int = Field(default=8, ge=1)
    model_url: str = ""
    log: Literal["json", "text"] = "json"


def load_neuron_params(path: Path = PARAMS_FILE) -> NeuronParams:
    """Read and check the section; a file without it means the defaults.

    Raises:
        ConfigError: names the file and each key that is unknown or out of range.
    """
    section = read_sections(path).get("neuron") or {}
    return validated(_Document, {"neuron": section}, path).neuron


class _Document(Section):
    neuron: NeuronParams
