"""Requests to an axon by hand, for what a dendrite never sends: signed headers with any body."""

from __future__ import annotations

import hashlib
import time
import uuid

from tests.support.neuron import VALIDATOR, address

# of bittensor 10.5, as the header states it
VERSION = 1050
# of a synapse without required fields
BODY = hashlib.sha3_256(b"").hexdigest()
DENDRITE = str(uuid.uuid1())


def headers(to: str, uri: str = VALIDATOR, *, nonce: int | None = None, hotkey: str | None = None) -> dict[str, str]:
    """Headers that `Axon.default_verify` accepts.

    Args:
        to: hotkey of the axon.
        uri: of the key that signs.
        nonce: ns since 1970; now by default.
        hotkey: that the request states; the signer's by default.
    """
    from bittensor_wallet import Keypair

    keypair = Keypair.create_from_uri(uri)
    sender, moment = hotkey or address(uri), nonce or time.time_ns()
    signature = keypair.sign(f"{moment}.{sender}.{to}.{DENDRITE}.{BODY}").hex()
    return {
        "name": "ImageSynapse",
        "timeout": "9.0",
        "computed_body_hash": BODY,
        "bt_header_dendrite_version": str(VERSION * 10_000),
        "bt_header_dendrite_nonce": str(moment),
        "bt_header_dendrite_uuid": DENDRITE,
        "bt_header_dendrite_hotkey": sender,
        "bt_header_dendrite_signature": f"0x{signature}",
        "bt_header_axon_hotkey": to,
    }
