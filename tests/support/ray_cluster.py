"""A Ray cluster of two nodes with one processor each, as processes on this machine, and how to kill its parts."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

OBJECT_STORE_BYTES = 100_000_000
# not importorskip: Ray reads its settings when it is imported, so nobody may import it before they are made
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")


@contextmanager
def two_nodes() -> Iterator[Any]:
    """Start the nodes and connect to them; takes about 15 s on two idle cores."""
    from tasks.scale.on_ray import SETTINGS

    os.environ.update(SETTINGS)
    # Ray gives its agents 15 s to start; without bytecode each of them would compile the package at once
    subprocess.run([sys.executable, "-c", "import ray.dashboard.agent"], check=True, capture_output=True)
    import ray
    from ray.cluster_utils import Cluster

    store = {"object_store_memory": OBJECT_STORE_BYTES, "include_log_monitor": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **store})
    try:
        cluster.add_node(num_cpus=1, **store)
        ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def actors(cluster: Any) -> list[psutil.Process]:
    """The processes of Ray Data's actors on all nodes of the cluster."""
    raylets = [info.process.pid for node in cluster.list_all_nodes() for info in node.all_processes["raylet"]]
    below = [child for pid in raylets for child in psutil.Process(pid).children(recursive=True)]
    return [process for process in below if "MapWorker" in " ".join(process.cmdline())]
