"""What the axon adds to the service's answer: the same kind of picture asked through a dendrite and directly, by turns.

`python tests/bench/neuron.py [pairs]` starts a service of a tiny model and a miner; figures are of this machine.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from cascade.client import AsyncClient
from tests.integration.cascade.neuron.test_endurance import picture, text
from tests.support import tiny
from tests.support.neuron import VALIDATOR, Running, mining
from tests.support.service import served
from tests.support.validator import synapse_of


async def pairs(miner: Running, url: str, count: int) -> tuple[list[float], list[float]]:
    """Seconds through the axon and directly, one at a time, a new picture each."""
    from bittensor.core.chain_data import AxonInfo
    from bittensor.core.dendrite import Dendrite
    from bittensor.utils import networking
    from bittensor_wallet import Keypair

    networking.get_external_ip = lambda: "127.0.0.1"
    target = AxonInfo(1, "127.0.0.1", miner.port, 4, miner.hotkey, miner.hotkey)
    dendrite, draw = Dendrite(wallet=Keypair.create_from_uri(VALIDATOR)), random.Random(1)  # noqa: S311
    through, directly = [], []
    async with AsyncClient(url) as client:
        for _ in range(count + 10):
            synapse = synapse_of({"image": text(picture(draw))})
            start = time.perf_counter()
            answer = await dendrite.call(target, synapse, timeout=9.0)
            through.append(time.perf_counter() - start)
            assert answer.prediction != -1.0, answer.dendrite
            data = picture(draw)
            start = time.perf_counter()
            await client.predict([data])
            directly.append(time.perf_counter() - start)
    await dendrite.aclose_session()
    return through[10:], directly[10:]


def main() -> None:
    """Print medians and 95th percentiles in ms."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(tiny.write_release(folder / "made"), folder, 18_080) as url, mining(folder, url) as miner:
            cpu = miner.series()["process_cpu_seconds_total"]
            found = asyncio.run(pairs(miner, url, count))
            cpu = miner.series()["process_cpu_seconds_total"] - cpu
    for label, seconds in zip(("through the axon", "the service alone"), found, strict=True):
        print(
            f"{label}: median {1000 * statistics.median(seconds):.1f} ms, "
            f"95 % {1000 * statistics.quantiles(seconds, n=20)[-1]:.1f} ms"
        )
    added = 1000 * statistics.median(one - other for one, other in zip(*found, strict=True))
    print(f"added: median {added:.1f} ms; the miner's processor time {1000 * cpu / (count + 10):.1f} ms a challenge")


if __name__ == "__main__":
    main()
