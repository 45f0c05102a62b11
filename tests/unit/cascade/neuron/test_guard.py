"""The limits before the axon, through a real ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cascade.config.neuron import NeuronParams
from cascade.neuron.decode import most_characters
from cascade.neuron.guard import FIELDS, BodyTooLargeError, Guard, arrived
from cascade.neuron.metrics import NeuronMetrics

PARAMS = NeuronParams(max_bytes=100, max_requests=2)
MOST = most_characters(100) + FIELDS


def guarded(gate: asyncio.Event | None = None) -> tuple[httpx.AsyncClient, NeuronMetrics]:
    async def read(request: Request) -> Response:
        size = len(await request.body())
        assert arrived.get() > 0
        if gate:
            await gate.wait()
        return PlainTextResponse(str(size))

    metrics = NeuronMetrics()
    guard = Guard(Starlette(routes=[Route("/", read, methods=["POST"])]), PARAMS, metrics)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://axon"), metrics


@pytest.mark.parametrize(("size", "status"), [(0, 200), (MOST, 200), (MOST + 1, 413)])
def test_the_stated_size_is_looked_at_before_the_body(size: int, status: int) -> None:
    async def run() -> int:
        return (await guarded()[0].post("/", content=b"x" * size)).status_code

    assert asyncio.run(run()) == status


def test_a_body_without_a_size_is_cut_off() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 10_000

    with pytest.raises(BodyTooLargeError):
        asyncio.run(guarded()[0].post("/", content=endless()))
    assert read == MOST // 10_000 + 1


def test_so_many_at_once_and_then_again() -> None:
    async def run() -> list[int]:
        gate = asyncio.Event()
        client, _ = guarded(gate)
        waiting = [asyncio.create_task(client.post("/", content=b"x")) for _ in range(PARAMS.max_requests)]
        await asyncio.sleep(0.05)
        refused = await client.post("/", content=b"x")
        gate.set()
        return [
            refused.status_code,
            *[(await one).status_code for one in waiting],
            (await client.post("/")).status_code,
        ]

    assert asyncio.run(run()) == [503, 200, 200, 200]


def test_responses_are_counted_by_status() -> None:
    async def run() -> NeuronMetrics:
        client, metrics = guarded()
        for size in (1, 1, MOST + 1):
            await client.post("/", content=b"x" * size)
        await client.get("/elsewhere")
        return metrics

    counted = asyncio.run(run())._registry
    found = {
        status: counted.get_sample_value("streetvision_neuron_responses_total", {"status": status})
        for status in ("200", "413", "404")
    }
    assert found == {"200": 2.0, "413": 1.0, "404": 1.0}
