"""The HTTP service over one release: `python -m cascade.api.app --release DIR --port N`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cascade.api import openapi
from cascade.api.about import ReleaseInfo
from cascade.api.access import Access
from cascade.api.admission import BodyAdmission
from cascade.api.auth import ServiceError, check_host
from cascade.api.handlers import Service
from cascade.api.logs import log_config
from cascade.api.page.routes import add_page
from cascade.api.releases import Releases, describe_releases
from cascade.api.requests import Refused
from cascade.api.server import DrainingServer, listen
from cascade.config import RuntimeParams, load_runtime_params
from cascade.core.cascade import CLIP, PREDICT, RELEASE, RELEASES, PredictResponse
from cascade.core.measured_sizes import SIZES
from cascade.core.memory import MemoryLimitError
from cascade.metrics.service import Metrics
from cascade.release.store import Release, load_release
from cascade.video.clip import ClipPrediction

# s that requests may take to end once no more are accepted; the deadline of each is below it
SHUTDOWN_SECONDS = 10
# what a request with a body may be told
REFUSALS = openapi.refusals(400, 401, 413, 415, 422, 429, 503)
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
    check_host(params.serve.host, params.serve.key_file)
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
    failed = service.metrics.requests.labels("internal").inc
    app.add_middleware(Access, is_draining=lambda: service.state == "draining", failed=failed)
    _add_errors(app, service.metrics)
    _add_predictions(app, service)
    _add_releases(app, service)
    _add_probes(app, service)
    if params.serve.page:
        add_page(app)
    return app


def _add_predictions(app: FastAPI, service: Service) -> None:
    images, clip = openapi.images_body(service.serve.max_images), openapi.clip_body()
    predicted = {**REFUSALS, **openapi.example(openapi.PREDICTED)}

    @app.post(PREDICT, response_model=PredictResponse, responses=predicted, openapi_extra=images)
    async def predict(request: Request) -> Response:
        """Predict images: the probability of roadworks, the stage that decided, and what each stage saw."""
        return await _counted(service, request, service.predict)

    @app.post(CLIP, response_model=ClipPrediction, responses=REFUSALS, openapi_extra=clip)
    async def predict_clip(request: Request) -> Response:
        """Predict a clip, frame by frame or by the model for clips."""
        return await _counted(service, request, service.predict_clip)


def _add_releases(app: FastAPI, service: Service) -> None:
    @app.get(RELEASE, responses=openapi.refusals(401))
    async def release(request: Request) -> ReleaseInfo:
        """Tell the release that answers: its stages, thresholds, engines and figures."""
        service.check_key(request)
        return service.about

    @app.get(RELEASES, responses=openapi.refusals(401))
    async def releases(request: Request) -> Releases:
        """Tell the releases of the ledger, and the gate's comparison of challenger and champion."""
        service.check_key(request)
        serve = service.serve
        return await asyncio.to_thread(describe_releases, service.release, serve.gate_reports, serve.ledger)


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz")
    async def healthz() -> openapi.Health:
        """Say that the process lives."""
        return openapi.Health()

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", response_model=openapi.Readiness, responses={503: {"model": openapi.Readiness}})
    async def readyz(request: Request) -> JSONResponse:
        """Say whether requests are answered now."""
        about = {"status": service.status, "release": service.release.id}
        if service.failure and service.key_of(request) is not None:
            about["reason"] = service.failure
        return JSONResponse(about, 200 if about["status"] == "ready" else 503)

    @app.get("/metrics", response_class=Response, responses=openapi.refusals(401))
    async def metrics(request: Request) -> Response:
        """Give the metrics in Prometheus' text format."""
        service.check_key(request)
        text = await asyncio.to_thread(service.metrics_text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/openapi.json", responses=openapi.refusals(401))
    async def document(request: Request) -> JSONResponse:
        """Give this document."""
        service.check_key(request)
        return JSONResponse(openapi.with_key(app.openapi(), needed=bool(service.keys)))


async def _counted(service: Service, request: Request, answer: Callable[[Request], Awaitable[BaseModel]]) -> Response:
    """Answer a request that may be refused first; the answer is a model, written as JSON once."""
    service.admit(request)
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
    return Response(reply.model_dump_json(), media_type="application/json")


def _add_errors(app: FastAPI, metrics: Metrics) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        metrics.requests.labels(error.reason).inc()
        request.state.facts["reason"] = error.reason
        return JSONResponse(error.body(), error.status, error.headers)

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


def run(release: Release, params: RuntimeParams) -> None:
    """Serve in this process until SIGTERM or Ctrl-C, then finish the requests that run.

    Raises:
        ServiceError: the host needs a key, or the port is taken.
        MemoryLimitError: a stage of the release can never fit.
    """
    import uvicorn

    # warnings of libraries become lines of the log
    logging.captureWarnings(True)
    app, serve = create_app(release, params, SIZES), params.serve
    listener = listen(serve.host, serve.port)
    config = uvicorn.Config(
        app, log_config=log_config(serve.log), access_log=False, timeout_graceful_shutdown=SHUTDOWN_SECONDS
    )
    # uvicorn hands Ctrl-C on once it has shut down
    with listener, suppress(KeyboardInterrupt):
        DrainingServer(config, app.state.service.drain, serve.drain_seconds).run(sockets=[listener])


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
