"""The HTTP service over one release: `python -m cascade.service --release DIR --port N`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cascade.access import KEY_VARIABLE, ServiceError, check_host, is_allowed
from cascade.answer import PREDICT, Answer, Cascade, Reply
from cascade.config import ServeParams, load_params
from cascade.metrics import Metrics
from cascade.payload import BodyLimit, Refused, decoded, from_json, read_payload
from cascade.release import Release, load_release

# while the engine works on one request the next one is decoded; more threads would only share the same cores
WORKERS = 2
# beyond this many, a request would run into its deadline anyway
MAX_IN_FLIGHT = 64
log = logging.getLogger("streetvision")


class Service:
    """What the routes share: the cascade, its worker threads and the metrics."""

    def __init__(self, release: Release, serve: ServeParams) -> None:
        self.serve = serve
        self.release = release
        self.metrics = Metrics()
        self.cascade = Cascade(release)
        self.state = "loading"
        self.in_flight = 0
        self._key = os.environ.get(KEY_VARIABLE, "")
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="cascade")

    async def load(self) -> None:
        """Load and warm up beside the event loop; until then `/readyz` says 503."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._workers, self.cascade.load)
        except Exception as error:
            # whatever it was, the service must not stay "loading" for ever
            self.state = f"failed: {error}"
            log.exception("release %s cannot be loaded", self.release.id)
            return
        self.metrics.loaded(self.cascade)
        self.state = "ready"

    def close(self) -> None:
        """Finish what runs and unload."""
        self._workers.shutdown(wait=True, cancel_futures=True)
        self.cascade.close()

    def check(self, request: Request) -> None:
        """Refuse before a byte of the body is read: no key, not ready, or too busy."""
        if not is_allowed(request.headers.get("authorization", ""), self._key):
            raise Refused(401, "unauthorized", "send the header `Authorization: Bearer KEY`")
        if self.state != "ready":
            raise Refused(503, "not_ready", f"the service is {self.state}")
        if self.in_flight >= MAX_IN_FLIGHT:
            raise Refused(503, "busy", f"{MAX_IN_FLIGHT} requests are waiting already")

    async def predict(self, request: Request) -> Reply:
        """Read a request and answer it within the deadline, in a thread beside the event loop."""
        try:
            async with asyncio.timeout(self.serve.deadline_seconds):
                payload = await read_payload(request, self.serve)
                # a request that is given up while it waits for a worker is never started
                results = await asyncio.get_running_loop().run_in_executor(self._workers, self._answer, payload)
        except TimeoutError:
            raise Refused(503, "deadline", f"no answer within {self.serve.deadline_seconds:g} s") from None
        self.metrics.answered(results)
        return Reply(release=self.release.id, results=results)

    def _answer(self, payload: list[bytes] | bytes) -> list[Answer]:
        files = from_json(payload, self.serve) if isinstance(payload, bytes) else payload
        return [answer for group in decoded(files, self.serve) for answer in self.cascade.answer(group)]


def create_app(release: Release, serve: ServeParams) -> FastAPI:
    """Build the application; the release loads when it starts.

    Raises:
        ServiceError: the host can be reached from outside and no key is set.
    """
    check_host(serve.host)
    service = Service(release, serve)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(service.load())
        yield
        await loading
        await asyncio.to_thread(service.close)

    app = FastAPI(title="StreetVision Cascade", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(BodyLimit, limit=serve.max_request_bytes)
    _add_errors(app, service.metrics)
    _add_routes(app, service)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    @app.post(PREDICT, response_model=Reply)
    async def predict(request: Request) -> Reply:
        service.check(request)
        start = time.perf_counter()
        service.in_flight += 1
        service.metrics.in_progress.set(service.in_flight)
        try:
            reply = await service.predict(request)
        finally:
            service.in_flight -= 1
            service.metrics.in_progress.set(service.in_flight)
            service.metrics.request_seconds.observe(time.perf_counter() - start)
        service.metrics.requests.labels("answered").inc()
        return reply

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive", "release": service.release.id}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        status = 200 if service.state == "ready" else 503
        return JSONResponse({"status": service.state, "release": service.release.id}, status)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_errors(app: FastAPI, metrics: Metrics) -> None:
    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        metrics.requests.labels(error.reason).inc()
        headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(error.status)
        return JSONResponse(error.body(), error.status, headers)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        reason = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        return JSONResponse(Refused(error.status_code, reason, error.detail).body(), error.status_code, error.headers)

    @app.middleware("http")
    async def failed(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            return await proceed(request)
        except Exception:
            # what went wrong is for the log; it may name paths that are no caller's business
            log.exception("%s %s failed", request.method, request.url.path)
            metrics.requests.labels("internal").inc()
            return JSONResponse(Refused(500, "internal", "the service failed; its log says why").body(), 500)


def run(release: Release, serve: ServeParams) -> None:
    """Serve in this process until SIGTERM or Ctrl-C, then finish the requests that run.

    Raises:
        ServiceError: the host needs a key, or the port is taken.
    """
    import uvicorn

    app = create_app(release, serve)
    listener = _listen(serve.host, serve.port)
    config = uvicorn.Config(app, log_level="info", access_log=False, timeout_graceful_shutdown=10)
    # uvicorn hands Ctrl-C on once it has shut down
    with listener, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ServiceError(f"cannot listen on {host}:{port}: {error.strerror}") from None


def main() -> int:
    """Serve a release as the command line says; the settings default to section `serve` of params.yaml."""
    parser = argparse.ArgumentParser(prog="python -m cascade.service", description=main.__doc__)
    parser.add_argument("--release", type=Path, required=True, help="a release folder")
    parser.add_argument("--port", type=int, help="instead of serve.port")
    parser.add_argument("--settings", help="section `serve` as JSON, instead of params.yaml")
    arguments = parser.parse_args()
    try:
        given = arguments.settings
        serve = ServeParams.model_validate_json(given) if given else load_params().serve
        serve = serve.model_copy(update={} if arguments.port is None else {"port": arguments.port})
        run(load_release(arguments.release), serve)
    except (ServiceError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
