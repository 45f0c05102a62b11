"""What the chain says of a miner: from a JSON file, or by bittensor where it is installed and a network is named.

The file has lists in the order of the uids: `hotkeys`, and where known `axons` ("ip:port"), `validator_permit`, `stake`
and `active`. That is what `bittensor.Subtensor(network).metagraph(netuid)` has; other keys are passed over.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tasks.doctor.registry import Context, MinerOptions

# another process: bittensor changes loggers when it is imported, and one that waits for a node can be ended
SCRIPT = """
import json, sys
from bittensor.core.subtensor import Subtensor
found = Subtensor(network=sys.argv[1]).metagraph(int(sys.argv[2]))
print(json.dumps({
    "hotkeys": [str(one) for one in found.hotkeys],
    "axons": [f"{one.ip}:{one.port}" for one in found.axons],
    "validator_permit": [bool(one) for one in found.validator_permit],
    "stake": [float(one) for one in found.S],
}))
"""
LEAST_SECONDS = 3.0


class NotAskedError(Exception):
    """The chain is not asked; says why, and what would make it so."""


class MetagraphError(ValueError):
    """The chain, or the file in its place, cannot be read."""


@dataclass(frozen=True)
class Member:
    """A registered hotkey; what the metagraph does not say is None."""

    uid: int
    axon: str | None
    permit: bool | None
    stake: float | None


class Metagraph(BaseModel):
    """Who is registered on the subnet; lists in the order of the uids, empty where unknown."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    hotkeys: tuple[str, ...]
    axons: tuple[str, ...] = ()
    validator_permit: tuple[bool, ...] = ()
    stake: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _lists_fit(self) -> Metagraph:
        for name in ("axons", "validator_permit", "stake"):
            if getattr(self, name) and len(getattr(self, name)) != len(self.hotkeys):
                raise ValueError(f"{name}: one entry a uid, as hotkeys has")
        return self

    def find(self, hotkey: str) -> Member | None:
        """The member with a hotkey; None where it is not registered."""
        if hotkey not in self.hotkeys:
            return None
        uid = self.hotkeys.index(hotkey)
        axon, permit, stake = (
            values[uid] if values else None for values in (self.axons, self.validator_permit, self.stake)
        )
        return Member(uid, axon, permit, stake)  # type: ignore[arg-type]


def hotkey_of(context: Context) -> str:
    """The miner's hotkey: the option's, else that of section `submission`.

    Raises:
        NotAskedError: neither is given.
    """
    given = context.miner.hotkey if context.miner else None
    hotkey = given or (context.params.submission.submitted_by if context.params else None)
    if not hotkey:
        raise NotAskedError("no hotkey is known; --hotkey SS58, or submission.submitted_by in params.yaml")
    return hotkey


def read_metagraph(context: Context) -> Metagraph:
    """Read the metagraph that the options name; all checks share one answer.

    Raises:
        NotAskedError: no file and no network is named, or bittensor is not installed.
        MetagraphError: it cannot be read.
    """
    if context.miner is None:
        raise NotAskedError("only --miner asks the chain")
    return _read(context.miner, context.deadline)


@lru_cache(maxsize=1)
def _read(options: MinerOptions, deadline: float) -> Metagraph:
    if options.metagraph is not None:
        return parse(_file(options.metagraph), str(options.metagraph))
    if options.network is None:
        raise NotAskedError("the chain is not asked; --network finney, or --metagraph FILE")
    if find_spec("bittensor") is None:
        raise NotAskedError("bittensor is not installed (extra `subnet`); --metagraph FILE does without")
    return parse(
        _chain(options, deadline - time.monotonic() - 1), f"network {options.network}, netuid {options.netuid}"
    )


def parse(text: str, source: str) -> Metagraph:
    """Check a metagraph.

    Raises:
        MetagraphError: names the source and the key.
    """
    try:
        return Metagraph.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()[:3])
        raise MetagraphError(f"{source}: {faults}") from None


def _file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MetagraphError(f"{path}: {error}") from None


def _chain(options: MinerOptions, seconds: float) -> str:
    if seconds < LEAST_SECONDS:
        raise NotAskedError(f"the chain needs more than {max(0.0, seconds):.0f} s; --seconds 60")
    command = [sys.executable, "-c", SCRIPT, str(options.network), str(options.netuid)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise MetagraphError(f"network {options.network}: no answer within {seconds:.0f} s; --seconds 60") from None
    except subprocess.CalledProcessError as error:
        raise MetagraphError(f"network {options.network}: {' '.join(error.stderr.split())[-200:]}") from None
    # bittensor may print before it
    lines = done.stdout.splitlines()
    return next((line for line in reversed(lines) if line.startswith("{")), json.dumps({}))
