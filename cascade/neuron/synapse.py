"""The subnet's protocol: what validators send and get back, by the names that stand on the wire.

A request goes to the address `/<class name>`, so the names are part of the protocol. natix/protocol.py at 28a1755 has
`ImageSynapse` with the fields below. From 2025 on the official validator sends `ExtendedImageSynapse`, whose further
fields came one by one; a fork of 2026 sends `ImageSynapse` again. The miner answers both. There is no synapse for
videos: the subnet has only stubs.
"""

from __future__ import annotations

from bittensor.core.synapse import Synapse


class ImageSynapse(Synapse):  # type: ignore[misc]  # bittensor is not there for mypy
    """One picture, and the probability that it shows roadworks.

    Attributes:
        testnet_label: 0 or 1 on the test network, else -1.
        image: base64 of a JPEG.
        prediction: above 0.5 is roadwork; -1 is no answer.
    """

    testnet_label: int = -1
    image: str = ""
    prediction: float = -1.0

    def deserialize(self) -> float:
        """What `dendrite(..., deserialize=True)` gives."""
        return self.prediction


class ExtendedImageSynapse(ImageSynapse):
    """The same with where the model is, and why the answer is so.

    Attributes:
        model_url: `neuron.model_url`.
        explanation: left as it comes; the validators' code that reads it is not part of a release.
    """

    model_url: str = ""
    explanation: str = ""


SYNAPSES = (ImageSynapse, ExtendedImageSynapse)
