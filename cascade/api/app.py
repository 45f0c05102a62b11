"""The HTTP service over one release: `python -m cascade.api.app --release DIR --port N`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cascade.api.auth import ServiceError, check_host
from cascade.api.handlers import Service
from cascade.api.metrics import Metrics
from cascade.api.requests import BodyLimit, Refused
from cascade.config import BudgetParams, InboxParams, ServeParams, load_params
from cascade.core.cascade import CLIP, PREDICT, PredictResponse
from cascade.core.memory import MemoryLimitError
from cascade.release.store import Release, load_release
from cascade.video.clip import ClipPrediction

Result = TypeVar("Result")
log = logging.getLogger("streetvision")


def create_app(
    release: Release, serve: ServeParams, inbox: InboxParams | None = None, budget: BudgetParams | None = None
) -> FastAPI:
    """Build the application; the release loads when it starts. Without an inbox no picture is kept.

    Raises:
        ServiceError: the host can be reached from outside and no key is set.
        MemoryLimitError: a stage of the release can never fit into the memory it may use.
    """
    check_host(serve.host)
    service = Service(release, serve, inbox, budget)

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
    @app.post(PREDICT, response_model=PredictResponse)
    async def predict(request: Request) -> PredictResponse:
        return await _counted(service, request, service.predict)

    @app.post(CLIP, response_model=ClipPrediction)
    async def predict_clip(request: Request) -> ClipPrediction:
        return await _counted(service, request, service.predict_clip)

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


async def _counted(service: Service, request: Request, answer: Callable[[Request], Awaitable[Result]]) -> Result:
    service.check(request)
    start = time.perf_counter()
    service.in_flight += 1
    service.metrics.in_progress.set(service.in_flight)
    try:
        reply = await answer(request)
    finally:
        service.in_flight -= 1
        service.metrics.in_progress.set(service.in_flight)
        service.metrics.request_seconds.observe(time.perf_counter() - start)
    service.metrics.requests.labels("answered").inc()
    return reply


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


def run(
    release: Release, serve: ServeParams, inbox: InboxParams | None = None, budget: BudgetParams | None = None
) -> None:
    """Serve in this process until SIGTERM or Ctrl-C, then finish the requests that run.

    Raises:
        ServiceError: the host needs a key, or the port is taken.
        MemoryLimitError: a stage of the release can never fit.
    """
    import uvicorn

    app = create_app(release, serve, inbox, budget)
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
    parser = argparse.ArgumentParser(prog="python -m cascade.api.app", description=main.__doc__)
    parser.add_argument("--release", type=Path, required=True, help="a release folder")
    parser.add_argument("--port", type=int, help="instead of serve.port")
    parser.add_argument("--settings", help="section `serve` as JSON, instead of params.yaml")
    parser.add_argument("--inbox", help="section `inbox` as JSON; with --settings alone no picture is kept")
    parser.add_argument("--budget", help="section `budget` as JSON, instead of params.yaml")
    arguments = parser.parse_args()
    try:
        given = arguments.settings
        serve = ServeParams.model_validate_json(given) if given else load_params().serve
        serve = serve.model_copy(update={} if arguments.port is None else {"port": arguments.port})
        run(load_release(arguments.release), serve, _inbox(arguments), _budget(arguments))
    except (MemoryLimitError, ServiceError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _inbox(arguments: argparse.Namespace) -> InboxParams | None:
    if arguments.inbox:
        return InboxParams.model_validate_json(arguments.inbox)
    return None if arguments.settings else load_params().inbox


def _budget(arguments: argparse.Namespace) -> BudgetParams | None:
    if arguments.budget:
        return BudgetParams.model_validate_json(arguments.budget)
    return None if arguments.settings else load_params().budget


if __name__ == "__main__":
    sys.exit(main())
