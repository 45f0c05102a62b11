"""The chain: reading the metagraph and publishing the axon; never run against a node, see docs/neuron.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.config.neuron import NeuronParams
from cascade.neuron.metagraph import Metagraph, MetagraphError, from_chain, read_file

if TYPE_CHECKING:
    from bittensor.core.axon import Axon


class ChainError(RuntimeError):
    """The chain cannot be asked, or refuses."""


class Source:
    """Where the metagraph comes from: `neuron.metagraph`, or the chain.

    Args:
        params: section `neuron`.
    """

    def __init__(self, params: NeuronParams) -> None:
        self._params = params
        self._subtensor: Any = None

    @property
    def is_chain(self) -> bool:
        """Whether the chain is asked."""
        return self._params.metagraph is None

    def read(self) -> Metagraph:
        """Read it; blocks.

        Raises:
            MetagraphError: the file or the chain cannot be read.
        """
        if self._params.metagraph is not None:
            return read_file(self._params.metagraph)
        try:
            return from_chain(self._connected().metagraph(self._params.netuid))
        except Exception as error:
            # a connection that broke is made anew next time
            self._subtensor = None
            raise MetagraphError(f"network {self._params.network}, netuid {self._params.netuid}: {error}") from error

    def publish(self, axon: Axon) -> None:
        """Write the axon's address to the chain, signed by the hotkey; blocks until it is in a block.

        Raises:
            ChainError: it is not written.
        """
        try:
            answer = self._connected().serve_axon(netuid=self._params.netuid, axon=axon)
        except Exception as error:
            raise ChainError(f"the axon is not published: {error}") from error
        if not answer.success:
            raise ChainError(f"the axon is not published: {answer.message}")

    def _connected(self) -> Any:
        if self._subtensor is None:
            from bittensor.core.subtensor import Subtensor

            self._subtensor = Subtensor(network=self._params.network)
        return self._subtensor
