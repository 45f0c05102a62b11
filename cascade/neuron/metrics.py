"""Prometheus metrics of the miner, on loopback alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from cascade.neuron.answer import NOTHING, Outcome
from cascade.neuron.kinds import KINDS, Kind
from cascade.neuron.metagraph import Metagraph
from cascade.neuron.rules import REASONS
from cascade.process.ready import LOOPBACK

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.0, 8.0, 9.0)


class NeuronMetrics:
    """All series of one miner. `kind` is `synthetic`, `organic` or `unknown`, see `cascade.neuron.kinds`."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.challenges = Counter(
            "streetvision_neuron_challenges",
            "Challenges by kind and what they got: answered, estimate, remembered, or why -1",
            ["kind", "outcome"],
            registry=registry,
        )
        self.answers = Counter(
            "streetvision_neuron_answers", "Answers by kind and label", ["kind", "label"], registry=registry
        )
        self.seconds = Histogram(
            "streetvision_neuron_answer_duration_seconds",
            "From the request's headers to the answer",
            ["kind"],
            buckets=SECONDS,
            registry=registry,
        )
        self.last = Gauge(
            "streetvision_neuron_last_challenge_timestamp_seconds",
            "When the last one came; 0: none has",
            ["kind"],
            registry=registry,
        )
        self.refused = Counter(
            "streetvision_neuron_refused", "Callers that the rules refuse", ["reason"], registry=registry
        )
        self.responses = Counter(
            "streetvision_neuron_responses", "All HTTP responses of the axon", ["status"], registry=registry
        )
        self.testnet = Counter(
            "streetvision_neuron_testnet",
            "Challenges with a label, from the test network",
            ["right"],
            registry=registry,
        )
        self.in_progress = Gauge(
            "streetvision_neuron_requests_in_progress", "Requests that are read or answered", registry=registry
        )
        self.registered = Gauge(
            "streetvision_neuron_registered", "1 while the metagraph holds our hotkey", registry=registry
        )
        self.members = Gauge("streetvision_neuron_metagraph_hotkeys", "Hotkeys in the metagraph", registry=registry)
        self.synced = Gauge(
            "streetvision_neuron_metagraph_timestamp_seconds", "When the metagraph was read last", registry=registry
        )
        for kind in KINDS:
            self.last.labels(kind)
        for reason in REASONS:
            self.refused.labels(reason)

    def answered(self, kind: Kind, outcome: Outcome, seconds: float, label: int) -> None:
        """Count one challenge.

        Args:
            kind: of it.
            outcome: that it got.
            seconds: from its headers to the answer.
            label: `testnet_label`; -1 where it has none.
        """
        self.challenges.labels(kind, outcome.word).inc()
        self.seconds.labels(kind).observe(seconds)
        self.last.labels(kind).set(time.time())
        if outcome.probability == NOTHING:
            return
        # the validators round: 0.5 is clear
        roadwork = outcome.probability > 0.5
        self.answers.labels(kind, "roadwork" if roadwork else "clear").inc()
        if label in (0, 1):
            self.testnet.labels(str(roadwork == bool(label)).lower()).inc()

    def read(self, metagraph: Metagraph, hotkey: str) -> None:
        """Note what metagraph is in use now."""
        self.registered.set(float(metagraph.find(hotkey) is not None))
        self.members.set(len(metagraph.hotkeys))
        self.synced.set(time.time())

    @contextmanager
    def served(self, port: int) -> Iterator[int]:
        """Serve the series at `/metrics` on loopback until the end of the block; gives the port.

        Raises:
            OSError: the port is taken.
        """
        server, thread = start_http_server(port, addr=LOOPBACK, registry=self._registry)
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5.0)
