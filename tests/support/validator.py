"""A validator for tests: a real dendrite that sends challenges to an axon.

It is a process of its own, as bittensor changes every logger of the process that imports it. It reads a plan as JSON
from standard input, and writes an answer a challenge as JSON to standard output.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from typing import Any

from pydantic import create_model

PARALLEL = 8


async def ask(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Send the challenges of a plan, `parallel` at a time, and give what came back for each, in their order."""
    from bittensor.core.chain_data import AxonInfo
    from bittensor.core.dendrite import Dendrite
    from bittensor_wallet import Keypair

    target = AxonInfo(
        version=1, ip="127.0.0.1", port=plan["port"], ip_type=4, hotkey=plan["hotkey"], coldkey=plan["hotkey"]
    )
    dendrites: dict[tuple[str, int], Dendrite] = {}
    gate = asyncio.Semaphore(plan.get("parallel", PARALLEL))
    # an axon takes the nonces of a dendrite in rising order alone, and a validator asks a miner one thing at a time
    turns: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def one(challenge: dict[str, Any]) -> dict[str, Any]:
        name = challenge.get("from", "//Validator"), challenge.get("dendrite", 0)
        dendrite = dendrites.setdefault(name, Dendrite(wallet=Keypair.create_from_uri(name[0])))
        async with gate, turns[name]:
            start = time.perf_counter()
            found = await dendrite.call(target, synapse_of(challenge), timeout=challenge.get("timeout", 9.0))
            seconds = time.perf_counter() - start
        return {
            "prediction": found.prediction,
            "status": found.dendrite.status_code,
            "message": found.dendrite.status_message,
            "model_url": getattr(found, "model_url", None),
            "seconds": seconds,
        }

    answers = await asyncio.gather(*(one(challenge) for challenge in plan["challenges"]))
    for dendrite in dendrites.values():
        await dendrite.aclose_session()
    return list(answers)


def synapse_of(challenge: dict[str, Any]) -> Any:
    """The validator's own class, by the name of the protocol and with its fields; no code of ours."""
    from bittensor.core.synapse import Synapse

    fields: dict[str, Any] = {"testnet_label": (int, -1), "image": (str, ""), "prediction": (float, -1.0)}
    name = challenge.get("name", "ImageSynapse")
    if name == "ExtendedImageSynapse":
        fields["model_url"] = (str, "")
    values = {key: challenge[key] for key in ("image", "testnet_label") if key in challenge}
    return create_model(name, __base__=Synapse, **fields)(**values)


def main() -> None:
    """Read the plan, send it, write the answers."""
    plan = json.load(sys.stdin)
    # bittensor logs to standard output, from a thread of its own, when a connection is refused
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from bittensor.utils import networking

    # it asks web sites for the address that a dendrite states
    networking.get_external_ip = lambda: "127.0.0.1"
    with answers:
        json.dump(asyncio.run(ask(plan)), answers)


if __name__ == "__main__":
    main()
