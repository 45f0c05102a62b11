"""The axon of bittensor around the answerer: rules before the body is read, then the answer within the deadline."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Tuple  # noqa: UP035  # bittensor compares with typing.Tuple

from cascade.api.logs import FACTS
from cascade.config.neuron import NeuronParams
from cascade.neuron.answer import Outcome
from cascade.neuron.guard import arrived
from cascade.neuron.kinds import Kinds
from cascade.neuron.metagraph import Metagraph
from cascade.neuron.metrics import NeuronMetrics
from cascade.neuron.nonces import Nonces
from cascade.neuron.rules import REASONS, priority, refusal

if TYPE_CHECKING:
    from bittensor.core.axon import Axon
    from bittensor.core.synapse import Synapse
    from bittensor_wallet import Wallet

    from cascade.neuron.synapse import ImageSynapse

log = logging.getLogger("streetvision")


class Answers(Protocol):
    """What the axon asks, an `Answerer`."""

    async def answer(self, text: str, until: float, priority: float) -> Outcome:
        """Answer a picture given as base64 until a moment of `time.monotonic`."""


@dataclass(frozen=True)
class Caller:
    """Who sends a request, by its headers: the signature is checked over those, and not over the body."""

    hotkey: str
    dendrite: str | None
    ip: str | None
    timeout: float | None


NOBODY = Caller("", None, None, None)
caller_now: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


class Miner:
    """What the axon's functions share.

    Args:
        params: section `neuron`.
        metrics: of this miner.
        metagraph: gives the one that holds now.
    """

    def __init__(self, params: NeuronParams, metrics: NeuronMetrics, metagraph: Callable[[], Metagraph]) -> None:
        self.params, self.metrics, self._metagraph = params, metrics, metagraph
        self.answers: Answers | None = None
        self._kinds = Kinds()

    def refuse(self, synapse: Synapse) -> tuple[bool, str]:
        """The axon's `blacklist_fn`: whether the caller is refused, and why."""
        sender = synapse.dendrite
        caller = Caller(sender.hotkey or "", sender.uuid, sender.ip, synapse.timeout) if sender else caller_now.get()
        reason = refusal(caller.hotkey, self._metagraph(), self.params)
        if reason is not None:
            self.metrics.refused.labels(reason).inc()
            log.info("neuron.caller refused: %s", reason, extra={FACTS: {"hotkey": caller.hotkey, "ip": caller.ip}})
            return True, REASONS[reason]
        # the forward function sees the body's synapse; a context variable reaches it from here
        caller_now.set(caller)
        return False, "Hotkey recognized!"

    async def forward(self, synapse: ImageSynapse) -> ImageSynapse:
        """The axon's `forward_fn`: fill in the prediction."""
        caller, start = caller_now.get(), arrived.get()
        outcome = await self._answer(synapse.image, start + self._seconds(caller.timeout), caller)
        kind = self._kinds.kind(caller.hotkey, caller.dendrite, synapse.testnet_label)
        took = time.monotonic() - start
        self.metrics.answered(kind, outcome, took, synapse.testnet_label)
        facts = {
            "kind": kind,
            "outcome": outcome.word,
            "probability": outcome.probability,
            "milliseconds": round(1000 * took, 1),
            "hotkey": caller.hotkey,
            "ip": caller.ip,
        }
        log.info("neuron.challenge", extra={FACTS: facts})
        synapse.prediction = outcome.probability
        if "model_url" in type(synapse).model_fields:
            synapse.model_url = self.params.model_url
        return synapse

    async def _answer(self, text: str, until: float, caller: Caller) -> Outcome:
        assert self.answers is not None, "the axon is served with an answerer"  # noqa: S101
        return await self.answers.answer(text, until, priority(caller.hotkey, self._metagraph()))

    def _seconds(self, asked: float | None) -> float:
        """Seconds that an answer may take: the caller's time-out less the margin."""
        most = self.params.timeout_seconds
        seconds = min(asked, most) if asked is not None and math.isfinite(asked) and asked > 0 else most
        return seconds - min(self.params.margin_seconds, seconds / 4)


def build_axon(miner: Miner, wallet: Wallet) -> Axon:
    """Make the axon with the functions of a miner for each synapse of the subnet; nothing listens yet."""
    from bittensor.core.axon import Axon

    from cascade.neuron.synapse import SYNAPSES

    params = miner.params
    # without an external address bittensor asks four web sites for it
    axon = Axon(
        wallet=wallet,
        ip=params.host,
        port=params.port,
        external_ip=params.external_ip or "127.0.0.1",
        external_port=params.external_port or params.port,
    )
    for kind in SYNAPSES:
        axon.attach(**_functions(miner, kind))
    # bittensor lets anybody ping, and keeps a nonce for each key that did
    axon.blacklist_fns["Synapse"] = miner.refuse
    axon.nonces = Nonces()
    return axon


def _functions(miner: Miner, kind: type[ImageSynapse]) -> dict[str, Any]:
    """The functions with the annotations by which `attach` names the address and checks their form.

    There is no `priority_fn`: `cascade.neuron.turns` says why.
    """

    async def forward(synapse: Any) -> Any:
        return await miner.forward(synapse)

    def blacklist(synapse: Any) -> Any:
        return miner.refuse(synapse)

    forward.__annotations__ = {"synapse": kind, "return": kind}
    blacklist.__annotations__ = {"synapse": kind, "return": Tuple[bool, str]}  # noqa: UP006
    return {"forward_fn": forward, "blacklist_fn": blacklist}
