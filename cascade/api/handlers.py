"""What the routes of the service share: the cascade of one release, its worker threads, deadlines and metrics."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import TypeVar

from fastapi import Request

from cascade.api.auth import KEY_VARIABLE, is_allowed
from cascade.api.cache import PredictionCache
from cascade.api.metrics import Metrics
from cascade.api.requests import DAMAGED, STATUS, Refused, decoded, from_json, read_body
from cascade.config import RuntimeParams, ServeParams
from cascade.core.cascade import Cascade, Prediction, PredictResponse
from cascade.core.router import NoEstimateError
from cascade.decoding.pool import Decoders, DecodersBusyError
from cascade.decoding.process import DecodingDeadlineError
from cascade.inbox.inbox import open_inbox
from cascade.preprocess.image import BadImage, Decoded
from cascade.release.store import Release
from cascade.video.clip import ClipPrediction, predict_clip

# requests that ask the models at once: while the engine works on one the next is prepared
WORKERS = 2
# requests at work: each waits for its pictures to be decoded, in a process of its own, and then for its turn at the
# models. Two that take for ever leave two for the others
READERS = 4
# clips at work, with threads and processes of their own, so that no picture waits behind one
CLIPS = 2
# beyond this many, a request would run into its deadline anyway
MAX_IN_FLIGHT = 64
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
        self.metrics = Metrics()
        self.cascade = Cascade(release, params.memory, params.timeouts, sizes=sizes)
        self.cascade.check()
        kept = params.cache
        self.cache = PredictionCache(kept.folder, kept.max_bytes) if kept.folder else None
        # loading, ready or failed; why it failed may name paths, which are nothing for a caller without a key
        self.state, self.failure = "loading", ""
        self.in_flight = 0
        self._key = os.environ.get(KEY_VARIABLE, "")
        self.decoders = Decoders(pictures=READERS, clips=CLIPS)
        self.metrics.watch(self.decoders)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="pictures")
        self._clips = ThreadPoolExecutor(CLIPS, thread_name_prefix="clips")
        self._turns = Semaphore(WORKERS)

    @property
    def status(self) -> str:
        """What `/readyz` says: the state, or `busy` while every decoder is held by a picture that takes for ever."""
        return "busy" if self.state == "ready" and self.decoders.is_stuck else self.state

    async def load(self) -> None:
        """Load and warm up beside the event loop; until then `/readyz` says 503."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._readers, self._load)
        except Exception as error:
            # whatever it was, the service must not stay "loading" for ever
            self.state, self.failure = "failed", str(error)
            log.exception("release %s cannot be loaded", self.release.id)
            return
        self.metrics.loaded(self.cascade)
        self.state = "ready"

    def _load(self) -> None:
        self.decoders.start()
        self.cascade.load()

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

    def has_key(self, request: Request) -> bool:
        """Whether a request carries the key; true for every one where none is set."""
        return is_allowed(dict(request.headers.raw).get(b"authorization", b""), self._key)

    def check_key(self, request: Request) -> None:
        """Refuse a request without the key, where one is set."""
        if not self.has_key(request):
            raise Refused(401, "unauthorized", "send the header `Authorization: Bearer KEY`")

    def check(self, request: Request) -> None:
        """Refuse before a byte of the body is read: no key, not ready, or too busy."""
        self.check_key(request)
        if self.state != "ready":
            raise Refused(503, "not_ready", f"the service is {self.state}")
        if self.in_flight >= MAX_IN_FLIGHT:
            raise Refused(503, "busy", f"{MAX_IN_FLIGHT} requests are waiting already")
        if self.status == "busy":
            raise Refused(503, "busy", "every decoder is held by a picture that takes long")

    def metrics_text(self) -> bytes:
        """Give all metrics in Prometheus' text format, those of the moment brought up to date."""
        self.metrics.cache_available.set(float(self.cache is not None and self.cache.available))
        return self.metrics.text()

    async def predict(self, request: Request) -> PredictResponse:
        """Read a request and answer it within the deadline, in a thread beside the event loop."""
        results = await self._within(request, self.serve, self._answer, self._readers)
        self.metrics.answered(results)
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
                # a request that is given up while it waits for a worker is never started
                return await asyncio.get_running_loop().run_in_executor(threads, answer, body, until)
        except TimeoutError:
            raise Refused(503, "deadline", f"no answer within {serve.deadline_seconds:g} s") from None
        except NoEstimateError as error:
            raise Refused(503, "no_answer", str(error)) from None
        except DecodersBusyError as error:
            raise Refused(503, "busy", str(error)) from None
        except DecodingDeadlineError as error:
            raise Refused(503, "deadline", str(error)) from None

    def _answer(self, body: list[bytes] | bytes, until: float) -> list[Prediction]:
        files = from_json(body, self.serve) if isinstance(body, bytes) else body
        decode = partial(
            self.decoders.decode, max_pixels=self.serve.max_pixels, min_side=self.serve.min_side, until=until
        )

        def predict(places: list[int]) -> list[Prediction]:
            groups = decoded(files, self.serve, decode, places)
            return [answer for group in groups for answer in self._predict(group, until)]

        everything = list(range(len(files)))
        answers = self.cache.answers(self.release.id, files, predict) if self.cache else predict(everything)
        if self.inbox:
            self.inbox.offer(files, answers)
        return answers

    def _predict(self, pictures: list[Decoded], until: float) -> list[Prediction]:
        if not self._turns.acquire(timeout=max(until - time.monotonic(), 0.0)):
            raise Refused(503, "busy", "the models are busy with other requests")
        try:
            answers = self.cascade.predict([picture.image for picture in pictures], until)
        finally:
            self._turns.release()
        return [answer.noted(picture.notes) for answer, picture in zip(answers, pictures, strict=True)]

    def _answer_clip(self, body: list[bytes] | bytes, until: float) -> ClipPrediction:
        if isinstance(body, bytes):
            raise Refused(415, "unsupported_media_type", "send the clip as multipart/form-data, in `files`")
        opener = partial(self.decoders.open_clip, until=until - CLIP_MODEL_SHARE * self.serve.deadline_seconds)
        limits = self.params.clips
        try:
            return predict_clip(self.cascade, body[0], limits, min_side=self.serve.min_side, until=until, opener=opener)
        except BadImage as error:
            raise Refused(STATUS.get(error.reason, DAMAGED), error.reason, str(error)) from None
