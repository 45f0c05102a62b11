"""The miner as a process of its own, with keys of its own and a metagraph in a file, and a validator that asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from cascade.process.ready import free_port
from tests.support.paths import ROOT

MINER, VALIDATOR, POOR, STRANGER = "//Miner", "//Validator", "//Poor", "//Stranger"
# of the miner's start, which imports bittensor
START_SECONDS = 120.0


@dataclass
class Running:
    """A miner that runs."""

    process: subprocess.Popen[bytes]
    port: int
    metrics: str
    hotkey: str
    log: Path

    def ask(self, challenges: Sequence[dict[str, Any]], **plan: Any) -> list[dict[str, Any]]:
        """Send challenges through a dendrite; see `tests/support/validator.py`."""
        document = {"port": self.port, "hotkey": self.hotkey, "challenges": list(challenges), **plan}
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.validator"],
            cwd=ROOT,
            input=json.dumps(document),
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return list(json.loads(done.stdout.splitlines()[-1]))

    def series(self) -> dict[str, float]:
        """The metrics by name with labels."""
        lines = httpx.get(self.metrics, trust_env=False).text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def facts(self) -> list[dict[str, Any]]:
        """Lines of its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


def address(uri: str) -> str:
    """The ss58 address of a key that is made from its name."""
    from bittensor_wallet import Keypair

    return str(Keypair.create_from_uri(uri).ss58_address)


def write_wallet(folder: Path, uri: str = MINER) -> None:
    """Write a hotkey without a coldkey; no secret is printed."""
    from bittensor_wallet import Keypair, Wallet

    Wallet(name="miner", hotkey="hot", path=str(folder)).set_hotkey(
        Keypair.create_from_uri(uri), encrypt=False, overwrite=True
    )


def write_metagraph(file: Path) -> None:
    """Write a subnet of the miner, a validator and a hotkey without a permit."""
    hotkeys = [address(one) for one in (MINER, VALIDATOR, POOR)]
    document = {"hotkeys": hotkeys, "stake": [0.0, 1000.0, 5.0], "validator_permit": [False, True, False]}
    file.write_text(json.dumps(document))


@contextmanager
def mining(folder: Path, service: str, **section: Any) -> Iterator[Running]:
    """Run a miner in a folder until the end of the block.

    Args:
        folder: for keys, parameters and log; may hold those of an earlier one.
        service: address of the service.
        section: keys of section `neuron`.
    """
    write_wallet(folder / "wallets")
    write_metagraph(folder / "metagraph.json")
    port, metrics = free_port("127.0.0.1", 18_091), free_port("127.0.0.1", 18_592)
    given = {
        "service": service,
        "host": "127.0.0.1",
        "port": port,
        "metrics_port": metrics,
        "metagraph": "metagraph.json",
        "wallet_path": "wallets",
        "wallet": "miner",
        "hotkey": "hot",
        **section,
    }
    (folder / "params.yaml").write_text(yaml.safe_dump({"neuron": given}))
    log = folder / "neuron.log"
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    with log.open("wb") as output:
        command = [sys.executable, "-m", "cascade.neuron.app"]
        with subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=environment) as child:
            try:
                _await(child, port, log)
                yield Running(child, port, f"http://127.0.0.1:{metrics}/metrics", address(MINER), log)
            finally:
                child.kill()


def _await(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        assert child.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        try:
            # the axon has no such address, and says so
            assert httpx.get(f"http://127.0.0.1:{port}/nothing", trust_env=False).status_code == 404
            return
        except httpx.TransportError:
            time.sleep(0.1)
