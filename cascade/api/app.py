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
from starlette.requests import ClientDisconnect

from cascade.api.admission import BodyAdmission
from cascade.api.auth import ServiceError, check_host
from cascade.api.handlers import Service
from cascade.api.metrics import Metrics
from cascade.api.requests import Refused
from cascade.config import RuntimeParams, load_runtime_params
from cascade.core.cascade import CLIP, PREDICT, PredictResponse
from cascade.core.measured_sizes import SIZES
from cascade.core.memory import MemoryLimitError
from cascade.release.store import Release, load_release
from cascade.video.clip import ClipPrediction

BACKLOG = 128  # connections that wait to be accepted
Result = TypeVar("Result")
log = logging.getLogger("streetvision")


def create_app(release: Release, params: RuntimeParams, sizes: Path | None = None) -> FastAPI:
    """Build the application; the release loads when it starts.

    Args:
        release: verified.
        params: the runtime's sections.
        sizes: where measured sizes of stages are kept between starts.

    Raises:
        ServiceError: the host can be reached from outside and no key is set.
        MemoryLimitError: a stage of the release can never fit into the memory it may use.
    """
    check_host(params.serve.host)
    service = Service(release, params, sizes)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(service.load())
        yield
        await loading
        await asyncio.to_thread(service.close)

    app = FastAPI(title="StreetVision Cascade", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    limits = {"limit": params.serve.max_request_bytes, "limit_in_flight": params.serve.max_in_flight_bytes}
    app.add_middleware(BodyAdmission, **limits)
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

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz")
    async def readyz(request: Request) -> JSONResponse:
        about = {"status": service.status, "release": service.release.id}
        if service.failure and service.has_key(request):
            about["reason"] = service.failure
        return JSONResponse(about, 200 if about["status"] == "ready" else 503)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        service.check_key(request)
        return Response(service.metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/openapi.json")
    async def openapi(request: Request) -> JSONResponse:
        service.check_key(request)
        return JSONResponse(app.openapi())


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

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, _: ClientDisconnect) -> Response:
        # nobody reads the answer; 499 is nginx's status for it
        log.info("%s %s: the client left before its request was read", request.method, request.url.path)
        metrics.requests.labels("client_gone").inc()
        return Response(status_code=499)

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


def run(release: Release, params: RuntimeParams) -> None:
    """Serve in this process until SIGTERM or Ctrl-C, then finish the requests that run.

    Raises:
        ServiceError: the host needs a key, or the port is taken.
        MemoryLimitError: a stage of the release can never fit.
    """
    import uvicorn

    app = create_app(release, params, SIZES)
    listener = _listen(params.serve.host, params.serve.port)
    config = uvicorn.Config(app, log_level="info", access_log=False, timeout_graceful_shutdown=10)
    # uvicorn hands Ctrl-C on once it has shut down
    with listener, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """Listen on an address.

    The socket names its protocol: asyncio switches Nagle's algorithm off only on connections whose socket says TCP,
    and accepted sockets take that from this one. With it on, an answer waits up to 40 ms for a delayed ACK.

    Raises:
        ServiceError: the address is taken, or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ServiceError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def main() -> int:
    """Serve a release; the parameters default to those of params.yaml."""
    parser = argparse.ArgumentParser(prog="python -m cascade.api.app", description=main.__doc__)
    parser.add_argument("--release", type=Path, required=True, help="a release folder")
    parser.add_argument("--port", type=int, help="instead of serve.port")
    parser.add_argument("--params", help="the runtime's sections as JSON, instead of params.yaml")
    arguments = parser.parse_args()
    try:
        given = arguments.params
        params = RuntimeParams.model_validate_json(given) if given else load_runtime_params()
        run(load_release(arguments.release), _on_port(params, arguments.port))
    except (MemoryLimitError, ServiceError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _on_port(params: RuntimeParams, port: int | None) -> RuntimeParams:
    serve = params.serve if port is None else params.serve.model_copy(update={"port": port})
    return params.model_copy(update={"serve": serve})


if __name__ == "__main__":
    sys.exit(main())
