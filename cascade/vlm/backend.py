"""From a VLM's folder to its backend."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

from cascade.extras import require
from cascade.process.memory import Meter
from cascade.vlm.base import Clip, DisabledVlm, VlmAnswer, VlmBackend, VlmError
from cascade.vlm.local import LocalVlm
from cascade.vlm.remote import RemoteVlm
from cascade.vlm.server import FOLDER, VllmServer
from cascade.vlm.settings import ModelSource, VlmSettings, check_files

if TYPE_CHECKING:
    from PIL import Image

NO_CLIPS = "no model for clips is set (vlm.clip_model)"
IMAGES, CLIPS = "vlm-image", "vlm-clip"
GIB = 1 << 30
# bytes of the card that any server with CUDA takes: its context alone has more
LEAST_ON_CARD = 128 << 20


def load_backend(folder: Path, settings: VlmSettings) -> VlmBackend:
    """Give the backend that the settings name, not loaded yet.

    Raises:
        VlmError: the settings name no model.
        MissingExtraError: the libraries of a model in this process are not installed.
    """
    if settings.backend == "off":
        return DisabledVlm()
    if settings.backend == "server":
        return ServerVlm(folder, settings)
    return InProcessVlm(folder, settings)


class InProcessVlm:
    """`LocalVlm` for pictures, and a second one for clips where one is set."""

    def __init__(self, folder: Path, settings: VlmSettings) -> None:
        require("the vlm in this process", "torch", "torchvision", "transformers")
        self._folder, self._settings = folder, settings
        self._images = _local(folder, settings.model, settings)
        self._clips = _local(folder, settings.clip_model, settings) if settings.clip_model else None
        self.memory_bytes = settings.memory_bytes

    def load(self) -> None:
        """See `VlmBackend.load`: both at once, since memory is set aside for what was measured here."""
        check_files(self._folder, self._settings)
        models = [self._images] + ([self._clips] if self._clips else [])
        for model in models:
            model.load()
        self.memory_bytes = sum(model.memory_bytes for model in models) or self.memory_bytes

    def run(self, items: Sequence[Image.Image | Clip]) -> list[VlmAnswer]:
        """See `VlmBackend.run`."""
        if not any(isinstance(item, Clip) for item in items):
            return self._images.run(items)
        if self._clips is None:
            return [
                VlmAnswer("off", why=NO_CLIPS) if isinstance(item, Clip) else self._images.run([item])[0]
                for item in items
            ]
        return [(self._clips if isinstance(item, Clip) else self._images).run([item])[0] for item in items]

    def rest(self) -> None:
        """See `VlmBackend.rest`."""
        self.close()

    def close(self) -> None:
        """See `VlmBackend.close`."""
        self._images.close()
        if self._clips is not None:
            self._clips.close()


class ServerVlm:
    """The server for pictures and, where one is set, the one for clips; one is awake at a time, for both are large."""

    def __init__(self, folder: Path, settings: VlmSettings, state: Path = FOLDER) -> None:
        if settings.server is None:
            raise VlmError("vlm.json: backend server needs the key server; run `dvc repro vlm`")
        self._settings = settings
        names = {IMAGES: settings.model} | ({CLIPS: settings.clip_model} if settings.clip_model else {})
        asleep = int(settings.server.sleeping_gib * GIB) * (len(names) - 1)
        self._booked = int(settings.server.memory_gib * GIB) or settings.memory_bytes
        booked = self._booked - asleep if settings.device == "cuda" else None
        self.servers = {
            name: VllmServer(_place(folder, source), name, settings.server, source.revision, state, booked=booked)
            for name, source in names.items()
        }
        # as measured, once it is loaded
        self.runs_on: str = settings.device
        self._clients = {name: self._client(name) for name in self.servers}
        self.memory_bytes = self._booked
        self._clips_refused = False
        # one of the two is awake, and neither gets a question while they change places
        self._turn = RLock()
        # a program that ends without unloading must not leave 20 GB on the card
        atexit.register(self.close)

    def load(self) -> None:
        """See `VlmBackend.load`: wake, or else start; the server for clips is started and sleeps until it is wanted.

        Starting takes minutes and waking seconds, so no clip waits for a start: where a build has no sleep mode and two
        models do not fit side by side, clips get no answer of their own.
        """
        with self._turn:
            meter, before = Meter(self._settings.device, self._pids), self.servers[IMAGES].pid
            self._start_clips()
            self._wake(IMAGES)
            if self._settings.device != "cpu" and self.servers[IMAGES].pid != before:
                self._note(meter.taken())

    def _start_clips(self) -> None:
        """Start the server for clips and put it to sleep, where there is one that does not sleep yet."""
        clips = self.servers.get(CLIPS)
        if clips is not None and not self._clips_refused and not clips.sleeping():
            self.servers[IMAGES].stop()
            clips.start()
            if not clips.sleep():
                clips.stop()
                self._clips_refused = True

    def _note(self, taken: int) -> None:
        """Book what servers that were started take of the card, where that is more; a build without CUDA takes none."""
        self.memory_bytes = max(self._booked, taken)
        self.runs_on = "cuda" if taken >= LEAST_ON_CARD else "cpu"

    def _pids(self) -> list[int]:
        return [pid for server in self.servers.values() for pid in server.pids()]

    def run(self, items: Sequence[Image.Image | Clip]) -> list[VlmAnswer]:
        """See `VlmBackend.run`. A server that has died is started again at the next `load`, not during a call."""
        stills = [index for index, item in enumerate(items) if not isinstance(item, Clip)]
        answers: dict[int, VlmAnswer] = {}
        with self._turn:
            if stills:
                found = self._clients[IMAGES].run([items[index] for index in stills])
                answers.update(zip(stills, found, strict=True))
            for index in sorted(set(range(len(items))) - set(stills)):
                answers[index] = self._run_clip(items[index])
        return [answers[index] for index in range(len(items))]

    def rest(self) -> None:
        """See `VlmBackend.rest`: sleep, or stop where the build cannot."""
        with self._turn:
            for server in self.servers.values():
                if not server.sleeping() and not server.sleep():
                    server.stop()

    def close(self) -> None:
        """See `VlmBackend.close`."""
        for name, server in self.servers.items():
            self._clients[name].close()
            server.stop()
        atexit.unregister(self.close)
        self._clients = {name: self._client(name) for name in self.servers}

    def _client(self, name: str) -> RemoteVlm:
        server = self.servers[name]
        clips = CLIPS if CLIPS in self.servers else None
        return RemoteVlm(lambda: server.url, server.key, IMAGES, clips, self._settings)

    def _run_clip(self, clip: Image.Image | Clip) -> VlmAnswer:
        if CLIPS not in self.servers:
            return VlmAnswer("off", why=NO_CLIPS)
        if self._clips_refused:
            return VlmAnswer("off", why="the server for clips cannot sleep beside the one for pictures")
        try:
            self.servers[IMAGES].sleep()
            self._wake(CLIPS)
            answer = self._clients[CLIPS].run([clip])[0]
            self.servers[CLIPS].sleep()
        except VlmError as error:
            answer = VlmAnswer("failed", why=str(error))
        self._wake(IMAGES)
        return answer

    def _wake(self, name: str) -> None:
        server = self.servers[name]
        if not (server.sleeping() and server.wake()):
            server.start()


def _local(folder: Path, source: ModelSource, settings: VlmSettings) -> LocalVlm:
    return LocalVlm(_place(folder, source), settings, source.revision)


def _place(folder: Path, source: ModelSource) -> str:
    if source.repo is not None:
        return source.repo
    if source.folder is None:
        raise VlmError("vlm.json: a model is a folder or a repo of the Hub; run `dvc repro vlm`")
    return str(folder / source.folder)
