"""What the routes of the service share: the cascade of one release, its worker threads, deadlines, keys and metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import TypeVar

from fastapi import Request

from cascade.api.about import release_info, served_settings
from cascade.api.auth import find_key, read_keys
from cascade.api.cache import PredictionCache
from cascade.api.limits import Limits
from cascade.api.requests import DAMAGED, STATUS, Refused, decoded, from_json, may_keep, read_body, with_deadline
from cascade.api.workers import count_workers
from cascade.config import RuntimeParams, ServeParams
from cascade.core.cascade import Cascade, Prediction, PredictResponse
from cascade.core.router import NoEstimateError
from cascade.decoding.pool import Decoders, DecodersBusyError
from cascade.decoding.process import DecodingDeadlineError
from cascade.inbox.inbox import open_inbox
from cascade.metrics.collectors import (
    DecoderCollector,
    GpuCollector,
    InboxCollector,
    MemoryCollector,
    QueueCollector,
    StageCollector,
)
from cascade.metrics.service import Metrics
from cascade.preprocess.image import BadImage, Decoded
from cascade.process.memory import available_bytes
from cascade.release.store import Release
from cascade.stages.describe import off_gpu_warning
from cascade.video.clip import ClipPrediction, predict_clip

# clips at work, with threads and processes of their own, so that no picture waits behind one
CLIPS = 2
# px of the longer side that a JPEG keeps when it is decoded at 1/2, 1/4 or 1/8: twice what OCR reads, whose input is
# the largest of all stages
ENOUGH_SIDE = 1920
# of the deadline; the rest is for writing the answer
ANSWER_SHARE = 0.95
# of the deadline, kept from the decoding of a clip for the models that look at its frames
CLIP_MODEL_SHARE = 0.25
Result = TypeVar("Result")
log = logging.getLogger("streetvision")


class Service:
    """What the routes share: the cascade, its worker threads and the metrics."""

    def __init__(
        self,
        release: Release,
        params: RuntimeParams,
        sizes: Path | None = None,
    ) -> None:
        self.params, self.serve = params, params.serve
        self.inbox = open_inbox(params.inbox, max_pixels=self.serve.max_pixels, min_side=self.serve.min_side)
        self.release = release
        self.metrics = Metrics(self.serve.metrics_folder)
        self.metrics.limits(requests=self.serve.max_requests, deadline_seconds=self.serve.deadline_seconds)
        settings = served_settings(release, self.serve)
        self.about = release_info(release, settings, params.memory.gpu_stages)
        self.cascade = Cascade(release, params.memory, params.timeouts, sizes=sizes, settings=settings)
        self.cascade.check()
        self.cache = _open_cache(params)
        # loading, ready, draining or failed; why it failed may name paths, which are nothing for a caller without a key
        self.state, self.failure, self.is_loaded = "loading", "", False
        self.in_flight = 0
        self.keys = read_keys(self.serve.key_file)
        self._limits = Limits(self.keys, self.serve.quota)
        workers = count_workers(self.serve, available_bytes())
        self.decoders = Decoders(pictures=workers.decoders, clips=CLIPS)
        # each waits for its pictures to be decoded and then for the stages, which take what waits together
        self._readers = ThreadPoolExecutor(workers.readers, thread_name_prefix="pictures")
        self._clips = ThreadPoolExecutor(CLIPS, thread_name_prefix="clips")
        self._show()

    def _show(self) -> None:
        """Have `/metrics` show what can be read at any time."""
        lanes = {"pictures": self._readers, "clips": self._clips}
        for collector in (
            DecoderCollector(self.decoders),
            MemoryCollector(self.cascade),
            StageCollector(self.cascade, self.params.memory.gpu_stages),
            GpuCollector(),
            QueueCollector(lanes),
        ):
            self.metrics.collect(collector)
        if self.inbox:
            self.metrics.collect(InboxCollector(self.inbox))

    @property
    def status(self) -> str:
        """What `/readyz` says: the state, or `busy` while every decoder is held by a picture that takes for ever."""
        return "busy" if self.state == "ready" and self.decoders.is_stuck else self.state

    @property
    def can_answer(self) -> bool:
        """Whether the models are loaded; while the service drains, they still answer."""
        return self.state == "ready" or (self.state == "draining" and self.is_loaded)

    async def load(self) -> None:
        """Load and warm up beside the event loop; until then `/readyz` says 503."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._readers, self._load)
        except Exception as error:
            # whatever it was, the service must not stay "loading" for ever
            self.state, self.failure = "failed", str(error)
            log.exception("release %s cannot be loaded", self.release.id)
            return
        self.metrics.loaded(self.release.id, self.about.stages)
        self.is_loaded = True
        if self.state == "loading":
            self.state = "ready"

    def _load(self) -> None:
        self.decoders.start()
        self.cascade.load()
        if warning := off_gpu_warning(self.about.stages):
            log.warning("%s", warning)

    def drain(self) -> None:
        """Have `/readyz` say 503 and connections close after their answer; requests are still answered."""
        if self.state in ("loading", "ready"):
            self.state = "draining"
        self.metrics.ready.set(0)

    def close(self) -> None:
        """Finish what runs and unload."""
        for threads in (self._readers, self._clips):
            threads.shutdown(wait=True, cancel_futures=True)
        self.decoders.close()
        self.cascade.close()
        if self.cache:
            self.cache.close()
        if self.inbox:
            self.inbox.close()

    def key_of(self, request: Request) -> str | None:
        """The name of a request's key; empty where the service has none, None where it is missing or wrong."""
        if not self.keys:
            return ""
        return find_key(dict(request.headers.raw).get(b"authorization", b""), self.keys)

    def check_key(self, request: Request) -> str:
        """Give the name of a request's key, or refuse it."""
        if (name := self.key_of(request)) is None:
            raise Refused(401, "unauthorized", "send the header `Authorization: Bearer KEY`")
        request.state.facts["key"] = name
        return name

    def admit(self, request: Request) -> None:
        """Refuse before a byte of the body is read: no key, not ready, too busy, or beyond the key's limits."""
        name = self.check_key(request)
        if not self.can_answer:
            raise Refused(503, "not_ready", f"the service is {self.state}")
        if self.in_flight >= self.serve.max_requests:
            raise Refused(503, "busy", f"{self.serve.max_requests} requests are waiting already")
        if self.status == "busy":
            raise Refused(503, "busy", "every decoder is held by a picture that takes long")
        if name:
            self._limits.take(name)

    def metrics_text(self) -> bytes:
        """Give all metrics in Prometheus' text format, those of the moment brought up to date."""
        self.metrics.cache_available.set(float(self.cache is not None and self.cache.available))
        return self.metrics.text()

    async def predict(self, request: Request) -> PredictResponse:
        """Read a request and answer it within the deadline, in a thread beside the event loop."""
        keep, serve = may_keep(request), with_deadline(request, self.serve)
        results = await self._within(request, serve, partial(self._answer, keep=keep), self._readers)
        self.metrics.answered(results, cache=keep and self.cache is not None)
        request.state.facts["images"] = len(results)
        return PredictResponse(release=self.release.id, results=results)

    async def predict_clip(self, request: Request) -> ClipPrediction:
        """The same for one clip."""
        serve = self.serve.model_copy(update={"max_bytes": self.params.clips.max_bytes, "max_images": 1})
        answer = await self._within(request, serve, self._answer_clip, self._clips)
        self.metrics.answered([answer.frame])
        return answer

    async def _within(
        self,
        request: Request,
        serve: ServeParams,
        answer: Callable[[list[bytes] | bytes, float], Result],
        threads: ThreadPoolExecutor,
    ) -> Result:
        until = time.monotonic() + serve.deadline_seconds * ANSWER_SHARE
        try:
            async with asyncio.timeout(serve.deadline_seconds):
                body = await read_body(request, serve)
                # a request that is given up while it waits for a thread is never started; `until` ends it at each
                # step after that: before decoding, in line for a stage, and between stages
                work = partial(copy_context().run, answer, body, until)
                return await asyncio.get_running_loop().run_in_executor(threads, work)
        except TimeoutError:
            raise Refused(503, "deadline", f"no answer within {serve.deadline_seconds:g} s") from None
        except NoEstimateError as error:
            raise Refused(503, "no_answer", str(error)) from None
        except DecodersBusyError as error:
            raise Refused(503, "busy", str(error)) from None
        except DecodingDeadlineError as error:
            raise Refused(503, "deadline", str(error)) from None

    def _answer(self, body: list[bytes] | bytes, until: float, *, keep: bool) -> list[Prediction]:
        files = from_json(body, self.serve) if isinstance(body, bytes) else body
        decode = partial(
            self.decoders.decode,
            max_pixels=self.serve.max_pixels,
            min_side=self.serve.min_side,
            enough=ENOUGH_SIDE,
            until=until,
        )

        def predict(places: list[int]) -> list[Prediction]:
            groups = decoded(files, self.serve, decode, places)
            return [answer for group in groups for answer in self._predict(group, until)]

        everything = list(range(len(files)))
        kept = self.cache if keep else None
        answers = kept.answers(self.release.id, files, predict) if kept else predict(everything)
        if self.inbox and keep:
            self.inbox.offer(files, answers)
        return answers

    def _predict(self, pictures: list[Decoded], until: float) -> list[Prediction]:
        answers = self.cascade.predict([picture.image for picture in pictures], until)
        return [
            answer.enlarged(picture.reduced).noted(picture.notes)
            for answer, picture in zip(answers, pictures, strict=True)
        ]

    def _answer_clip(self, body: list[bytes] | bytes, until: float) -> ClipPrediction:
        if isinstance(body, bytes):
            raise Refused(415, "unsupported_media_type", "send the clip as multipart/form-data, in `files`")
        opener = partial(self.decoders.open_clip, until=until - CLIP_MODEL_SHARE * self.serve.deadline_seconds)
        limits = self.params.clips
        try:
            return predict_clip(self.cascade, body[0], limits, min_side=self.serve.min_side, until=until, opener=opener)
        except BadImage as error:
            raise Refused(STATUS.get(error.reason, DAMAGED), error.reason, str(error)) from None


def _open_cache(params: RuntimeParams) -> PredictionCache | None:
    """The cache of answers; those of fewer stages are others, and lie in a folder of their own."""
    if params.cache.folder is None:
        return None
    light = params.serve.stages == "light"
    return PredictionCache(params.cache.folder / "light" if light else params.cache.folder, params.cache.max_bytes)
