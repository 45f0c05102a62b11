"""The process of the miner: metagraph, metrics, axon and the service's client, until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import os

from cascade.api.logs import log_config
from cascade.client import AsyncClient
from cascade.config.neuron import NeuronParams
from cascade.neuron.answer import Answerer
from cascade.neuron.axon import Miner, build_axon
from cascade.neuron.chain import ChainError, Source
from cascade.neuron.guard import Guard
from cascade.neuron.metagraph import Metagraph, MetagraphError, read_file
from cascade.neuron.metrics import NeuronMetrics
from cascade.neuron.wallet import WalletError, has_coldkeypub, open_wallet
from cascade.process.ready import LOOPBACK, bindable, holder_of

# the deadline ends the attempts, not their number; a longer `Retry-After` is no use to a challenge
ATTEMPTS, LONGEST_WAIT = 1000, 2.0
# s for challenges under way after SIGTERM
END_SECONDS = 10
log = logging.getLogger("streetvision")


class Neuron:
    """One miner.

    Args:
        params: section `neuron`.

    Raises:
        WalletError: see `open_wallet`.
        MetagraphError: it cannot be read.
    """

    def __init__(self, params: NeuronParams) -> None:
        self._params, self._source = params, Source(params)
        self.metrics = NeuronMetrics()
        wallet = open_wallet(params)
        self._hotkey = wallet.hotkey.ss58_address
        self._metagraph = Metagraph()
        self._read()
        self._miner = Miner(params, self.metrics, lambda: self._metagraph)
        self.axon = build_axon(self._miner, wallet)

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Raises:
            OSError: the port of the metrics is taken.
        """
        with self.metrics.served(self._params.metrics_port) as port:
            log.info("neuron.metrics at http://127.0.0.1:%d/metrics", port)
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        import uvicorn

        params = self._params
        key = os.environ.get(params.key_env, "") if params.key_env else ""
        config = uvicorn.Config(
            Guard(self.axon.app, params, self.metrics),
            host=params.host,
            port=params.port,
            # the parser with a limit of the headers' size
            http="h11",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=END_SECONDS,
        )
        async with AsyncClient(params.service, key, attempts=ATTEMPTS, longest_wait=LONGEST_WAIT) as client:
            self._miner.answers = Answerer(client, params)
            keeping = asyncio.create_task(self._keep_up())
            log.info("neuron.axon %s:%d, hotkey %s, service %s", params.host, params.port, self._hotkey, params.service)
            try:
                await uvicorn.Server(config).serve()
            finally:
                keeping.cancel()

    async def _keep_up(self) -> None:
        """Publish the axon until that has succeeded, and read the metagraph again and again."""
        published = not self._source.is_chain
        while True:
            if not published:
                published = await asyncio.to_thread(self._publish)
            await asyncio.sleep(self._params.metagraph_seconds)
            try:
                await asyncio.to_thread(self._read)
            except MetagraphError as error:
                log.warning("neuron.metagraph not read, the last one holds: %s", error)

    def _publish(self) -> bool:
        try:
            self._source.publish(self.axon)
        except ChainError as error:
            log.error("neuron.publish %s", error)
            return False
        log.info("neuron.publish %s:%d is in the metagraph", self._params.external_ip, self.axon.external_port)
        return True

    def _read(self) -> None:
        self._metagraph = self._source.read()
        self.metrics.read(self._metagraph, self._hotkey)
        if self._metagraph.find(self._hotkey) is None:
            log.warning("neuron.metagraph does not hold our hotkey %s: no validator will ask", self._hotkey)


def start(params: NeuronParams) -> None:
    """Run a miner in this process, with its logs on standard error; raises as `check` and `Neuron`."""
    logging.captureWarnings(True)
    logging.config.dictConfig(log_config(params.log))
    check(params)
    import bittensor  # noqa: F401  # raises the level of every logger there is

    logging.config.dictConfig(log_config(params.log))
    # it writes a line for each caller that is refused; ours and the metrics say the same
    logging.getLogger("bittensor").setLevel(logging.CRITICAL)
    Neuron(params).run()


def check(params: NeuronParams) -> None:
    """Look at all that could keep a miner from starting, before bittensor is loaded, which takes seconds.

    Raises:
        WalletError: see `open_wallet`; or what publishing needs is missing.
        MetagraphError: the file cannot be read.
        OSError: a port cannot be listened on.
    """
    open_wallet(params)
    if params.metagraph is not None:
        read_file(params.metagraph)
    elif params.external_ip is None:
        raise WalletError(
            "neuron.external_ip is not set: validators reach the miner by it; neuron.metagraph, a file, does without"
        )
    elif not has_coldkeypub(params):
        raise WalletError("coldkeypub.txt is missing beside the hotkeys; it is public, and the chain is told of it")
    for host, port, key in ((params.host, params.port, "port"), (LOOPBACK, params.metrics_port, "metrics_port")):
        try:
            bindable(host, port)
        except OSError as error:
            holder = holder_of(port) or error.strerror
            raise OSError(f"{host}:{port} cannot be listened on: {holder}; set neuron.{key} to another one") from None
