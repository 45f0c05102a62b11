"""Whom the axon answers, and whom first: the rules of the subnet's own miner.

natix/base/miner.py refuses a hotkey that is not registered and, where it is set so, one without a validator's permit;
the stake is the priority. There an unregistered hotkey ends in an exception instead of a refusal. A least stake is
ours.
"""

from __future__ import annotations

from cascade.config.neuron import NeuronParams
from cascade.neuron.metagraph import Metagraph

# by the word that metrics count
REASONS = {
    "no_hotkey": "Missing dendrite or hotkey",
    "unregistered": "Unrecognized hotkey",
    "no_permit": "Non-validator hotkey",
    "stake": "Not enough stake",
}


def refusal(hotkey: str | None, metagraph: Metagraph, rules: NeuronParams) -> str | None:
    """Why a caller is refused, a key of `REASONS`; None where it is answered.

    Args:
        hotkey: ss58 address that the request states; its signature is checked afterwards.
        metagraph: of the subnet.
        rules: section `neuron`.
    """
    if not hotkey:
        return "no_hotkey"
    member = metagraph.find(hotkey)
    if member is None and not rules.allow_non_registered:
        return "unregistered"
    if rules.force_validator_permit and not (member and member.has_permit):
        return "no_permit"
    return "stake" if (member.stake if member else 0.0) < rules.minimum_stake else None


def priority(hotkey: str | None, metagraph: Metagraph) -> float:
    """The caller's stake; 0 for others."""
    member = metagraph.find(hotkey)
    return member.stake if member else 0.0
