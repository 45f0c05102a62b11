"""The service against LitServe: requests a second, latency, and what the service adds to stage 1.

`make bench`, or `python -m tests.bench.service`. Both servers run the same engine on the same pictures,
and take turns, so that a busy moment of the machine falls on both.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from cascade.config import RuntimeParams
from cascade.process.ready import free_port
from cascade.release.build import build_release
from cascade.release.store import load_release
from tests.bench.result import Sample, add_json, faster, slower, write_result

CHALLENGE, CLASSIFIER = Path("data/sample/challenge.parquet"), Path("models/classifier")
PICTURES = 64
CONNECTIONS = (1, 16)
# of `make bench` on a machine that nothing else uses
TARGETS = {1: 2.0, 16: 1.2}
OVERHEAD_MS = 4.0
WARM_SECONDS, START_SECONDS = 3.0, 180.0
BOUNDARY = "street"


@dataclass
class Seen:
    """What a load measured, over all its rounds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    overheads: list[float] = field(default_factory=list)

    def add(self, other: Seen) -> None:
        """Take in what a round measured."""
        self.seconds += other.seconds
        self.refused += other.refused
        self.latencies += other.latencies
        self.overheads += other.overheads

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds of a request."""
        return float(np.percentile(self.latencies, share))


# by server and connections, a load a round
Rounds = dict[tuple[str, int], list[Seen]]


@dataclass(frozen=True)
class Server:
    """Where a server listens, the field that takes the picture, and its process."""

    port: int
    path: str
    field: bytes
    process: int


def main() -> None:
    """Measure both in turns, and print the ratios."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--classifier", type=Path, default=CLASSIFIER, help="an exported classifier")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one server in one round")
    add_json(parser)
    options = parser.parse_args()
    if not (options.classifier / "classifier.json").is_file():
        sys.exit(f"error: {options.classifier} holds no classifier; `make run` makes models/classifier")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        ours = servers.enter_context(_ours(options.classifier, Path(folder)))
        other = servers.enter_context(_other(options.classifier))
        both = {"ours": ours, "litserve": other}
        rounds, memory = _measure(both, options.rounds, options.seconds)
    _show({key: _together(loads) for key, loads in rounds.items()}, memory)
    write_result(options.json, {**_rows(rounds), "service_memory": [slower(memory["ours"], memory["litserve"])]})


@contextmanager
def _ours(classifier: Path, folder: Path) -> Iterator[Server]:
    """Serve a release of stage 1 alone."""
    report = folder / "metrics.json"
    report.write_text(json.dumps({"mcc": 1.0, "accuracy": 1.0}))
    release = build_release(classifier, report, folder / "releases", revision={"data": "d" * 64, "code": "c" * 40})
    port = free_port("127.0.0.1", 18500)
    serve = {"host": "127.0.0.1", "port": port, "max_images": 1, "max_bytes": 20_000_000, "deadline_seconds": 8.9}
    params = RuntimeParams.model_validate({"serve": {**serve, "log": "text"}}).model_dump_json()
    command = ["-m", "cascade.api.app", "--release", str(load_release(release.folder).folder), "--params", params]
    with _server(command, port, "/readyz") as process:
        yield Server(port, "/v1/predict", b"files", process)


@contextmanager
def _other(classifier: Path) -> Iterator[Server]:
    port = free_port("127.0.0.1", 18600)
    command = [str(Path(__file__).with_name("litserve_app.py")), str(classifier), str(port)]
    with _server(command, port, "/health") as process:
        yield Server(port, "/predict", b"content", process)


@contextmanager
def _server(arguments: list[str], port: int, probe: str) -> Iterator[int]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])}
    with (
        tempfile.TemporaryFile() as log,
        # a session of its own: LitServe's workers outlive their parent
        subprocess.Popen(
            [sys.executable, *arguments], stdout=log, stderr=log, env=environment, start_new_session=True
        ) as child,
    ):
        try:
            until = time.monotonic() + START_SECONDS
            while not _answers(port, probe):
                if child.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    sys.exit(f"error: {arguments[0]} does not start: {log.read().decode()[-2000:]}")
                time.sleep(0.2)
            yield child.pid
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _measure(servers: dict[str, Server], rounds: int, seconds: float) -> tuple[Rounds, dict[str, float]]:
    """Load both in turns; gives all loads, and the memory of each server in MB after them."""
    found: Rounds = defaultdict(list)
    pictures = _pictures()
    for number in range(rounds + 1):
        for connections, (name, server) in itertools.product(CONNECTIONS, servers.items()):
            seen = _load(server, pictures, connections, seconds if number else WARM_SECONDS)
            # the first round warms both up
            found[name, connections] += [seen] if number else []
    return found, {name: _peak_mb(server.process) for name, server in servers.items()}


def _peak_mb(process: int) -> float:
    """Peak memory of a process and its descendants, with pages that they share counted once.

    For each process VmHWM, less what of its present memory counts as another's share (Rss - Pss in smaps_rollup).
    """
    import psutil

    parent = psutil.Process(process)
    total = 0
    for one in (parent, *parent.children(recursive=True)):
        # a worker that has ended meanwhile, or is a zombie, has no memory
        with suppress(ProcessLookupError, FileNotFoundError):
            text = "".join((Path("/proc") / str(one.pid) / name).read_text() for name in ("status", "smaps_rollup"))
            pairs = (line.split() for line in text.splitlines() if line.endswith(" kB"))
            sizes = {words[0]: int(words[1]) for words in pairs}
            total += sizes["VmHWM:"] - sizes["Rss:"] + sizes["Pss:"]
    return total / 1000


def _load(server: Server, pictures: list[bytes], connections: int, seconds: float) -> Seen:
    """Send one request after the other on each connection, for so long."""
    into = Seen()
    bodies = [_multipart(server.field, picture) for picture in pictures]
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    begun = time.perf_counter()

    def send(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        for number in itertools.count(first, 7):
            start = time.perf_counter()
            if start - begun >= seconds:
                return connection.close()
            connection.request("POST", server.path, bodies[number % len(bodies)], headers)
            response = connection.getresponse()
            document = json.loads(response.read())
            latency = 1000 * (time.perf_counter() - start)
            if response.status in (503, 504):
                into.refused += 1
                continue
            if response.status != 200:
                raise RuntimeError(f"{server.path} says {response.status}: {document}")
            into.latencies.append(latency)
            into.overheads.append(latency - document["results"][0]["milliseconds"] if "results" in document else 0.0)
        return None

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(send, [5 * number for number in range(connections)]))
    into.seconds = time.perf_counter() - begun
    return into


def _together(loads: list[Seen]) -> Seen:
    total = Seen()
    for one in loads:
        total.add(one)
    return total


def _rows(rounds: Rounds) -> dict[str, list[Sample]]:
    """A sample a round: the loads of both servers follow each other."""
    rows = {
        f"service_{count}": [
            faster(ours.rate, other.rate)
            for ours, other in zip(rounds["ours", count], rounds["litserve", count], strict=True)
        ]
        for count in CONNECTIONS
    }
    return {**rows, "service_overhead": [_overhead(one) for one in rounds["ours", 1]]}


def _overhead(seen: Seen) -> Sample:
    """Milliseconds that the service adds; the peer is the stage alone, and the ratio that of a whole request to it."""
    alone = np.array(seen.latencies) - np.array(seen.overheads)
    ratio = float(np.median(np.array(seen.latencies) / alone))
    return Sample(ours=float(np.median(seen.overheads)), peer=float(np.median(alone)), ratio=ratio)


def _multipart(name: bytes, picture: bytes) -> bytes:
    boundary = b"--" + BOUNDARY.encode()
    head = b'Content-Disposition: form-data; name="' + name + b'"; filename="street.jpg"\r\nContent-Type: image/jpeg'
    return boundary + b"\r\n" + head + b"\r\n\r\n" + picture + b"\r\n" + boundary + b"--\r\n"


def _pictures() -> list[bytes]:
    import pyarrow.parquet as pq

    return [row["bytes"] for row in pq.read_table(CHALLENGE, columns=["image"])["image"].to_pylist()[:PICTURES]]


def _show(seen: dict[tuple[str, int], Seen], memory: dict[str, float]) -> None:
    table = Table("connections", "server", "answered", "refused", "requests/s", "median ms", "p99 ms", "ratio")
    for connections in CONNECTIONS:
        base = seen["litserve", connections]
        for name in ("ours", "litserve"):
            one = seen[name, connections]
            ratio = f"{one.rate / base.rate:.2f} (target {TARGETS[connections]})" if name == "ours" else ""
            figures = (f"{one.rate:.1f}", f"{one.percentile(50):.1f}", f"{one.percentile(99):.1f}")
            table.add_row(str(connections), name, str(len(one.latencies)), str(one.refused), *figures, ratio)
    Console(width=120).print(table)
    over = seen["ours", 1].overheads
    print(
        f"service over stage 1 at 1 connection: median {np.median(over):.1f} ms, fastest tenth "
        f"{np.percentile(over, 10):.1f} ms (target {OVERHEAD_MS:g})"
    )
    print("peak memory: " + ", ".join(f"{name} {size:.0f} MB" for name, size in memory.items()))


if __name__ == "__main__":
    main()
