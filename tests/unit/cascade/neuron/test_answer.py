"""The answerer against a real HTTP server with given answers: what it makes of each, and that it is in time."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from cascade.client import AsyncClient
from cascade.config.neuron import NeuronParams
from cascade.neuron.answer import NOTHING, Answerer, Outcome
from cascade.neuron.serve import ATTEMPTS, LONGEST_WAIT

PICTURE = base64.b64encode(b"a picture").decode()
OTHER = base64.b64encode(b"another picture").decode()


def result(probability: float, skipped: str | None = None) -> dict[str, Any]:
    """An answer of the service to one picture."""
    stage = {"stage": "vlm", "verdict": "undecided", "milliseconds": 1.0, "skipped": skipped}
    one = {
        "probability": probability,
        "label": "roadwork",
        "decided_by": "classifier",
        "reason": "why",
        "stages": [stage],
        "milliseconds": 1.0,
        "release": "r",
    }
    return {"release": "r", "results": [one]}


def refusal(reason: str) -> dict[str, Any]:
    """A refusal of the service."""
    return {"error": {"reason": reason, "message": "why"}}


Step = tuple[float, int, Any]


class Service:
    """Answers after some seconds with a status and a document, by turns; the last one for ever."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)
        self.deadlines: list[float] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
        await reader.readexactly(int(fields["content-length"]))
        self.deadlines.append(float(fields["x-deadline-seconds"]))
        seconds, status, document = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        await asyncio.sleep(seconds)
        body = (document if isinstance(document, str) else json.dumps(document)).encode()
        close = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        writer.write(close + body)
        writer.close()


def ask(service: Service, texts: Sequence[str], seconds: float = 0.6, **section: Any) -> list[Outcome]:
    """Ask for pictures one after the other."""

    async def run() -> list[Outcome]:
        server = await asyncio.start_server(service, "127.0.0.1", 0)
        url = "http://{}:{}".format(*server.sockets[0].getsockname())
        async with server, AsyncClient(url, attempts=ATTEMPTS, longest_wait=LONGEST_WAIT) as client:
            answerer = Answerer(client, NeuronParams(**section))
            return [await answerer.answer(text, time.monotonic() + seconds) for text in texts]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ((0, 200, result(0.93)), Outcome(0.93, "answered")),
        ((0, 200, result(0.0)), Outcome(0.0, "answered")),
        # a stage that is switched off is no loss; one that ran out of time is
        ((0, 200, result(0.93, "off")), Outcome(0.93, "answered")),
        ((0, 200, result(0.4, "timeout")), Outcome(0.4, "estimate")),
        # about the picture: nothing is known
        ((0, 415, refusal("not_an_image")), Outcome(NOTHING, "not_an_image")),
        ((0, 401, refusal("unauthorized")), Outcome(NOTHING, "unauthorized")),
        # no service of ours
        ((0, 200, "hello"), Outcome(NOTHING, "unreachable")),
        ((0, 200, {"release": "r", "results": []}), Outcome(NOTHING, "failed")),
        # a figure that is none
        ((0, 200, result(1.5)), Outcome(NOTHING, "failed")),
        ((0, 200, result(float("nan"))), Outcome(NOTHING, "failed")),
        # it hangs
        ((5, 200, result(0.9)), Outcome(NOTHING, "deadline")),
        # it is busy for as long as there is time
        ((0, 503, refusal("busy")), Outcome(NOTHING, "deadline")),
    ],
)
def test_what_each_answer_of_the_service_becomes(step: Step, expected: Outcome) -> None:
    start = time.monotonic()
    assert ask(Service([step]), [PICTURE]) == [expected]
    assert time.monotonic() - start < 3.0


def test_a_service_that_starts_again_is_waited_for() -> None:
    service = Service([(0, 503, refusal("not_ready")), (0, 502, "nginx"), (0, 200, result(0.8))])
    assert ask(service, [PICTURE], seconds=4.0) == [Outcome(0.8, "answered")]


def test_the_service_is_told_how_long_it_has() -> None:
    service = Service([(0, 200, result(0.8))])
    ask(service, [PICTURE], seconds=2.0)
    assert 1.5 < service.deadlines[0] < 1.9


@pytest.mark.parametrize("seconds", [0.0, -3.0])
def test_without_time_left_nothing_is_asked(seconds: float) -> None:
    service = Service([(0, 200, result(0.8))])
    assert ask(service, [PICTURE], seconds=seconds) == [Outcome(NOTHING, "deadline")]


def test_a_picture_that_was_answered_before_is_remembered() -> None:
    steps: list[Step] = [(0, 200, result(0.93)), (5, 200, result(0.1))]
    expected = [Outcome(0.93, "answered"), Outcome(0.93, "remembered"), Outcome(NOTHING, "deadline")]
    assert ask(Service(steps), [PICTURE, PICTURE, OTHER]) == expected


def test_the_newest_answer_holds() -> None:
    steps: list[Step] = [(0, 200, result(0.93)), (0, 200, result(0.1))]
    assert [one.probability for one in ask(Service(steps), [PICTURE, PICTURE])] == [0.93, 0.1]


def test_without_a_service_nothing_is_known() -> None:
    async def run() -> Outcome:
        async with AsyncClient("http://127.0.0.1:9", attempts=1) as client:
            return await Answerer(client, NeuronParams()).answer(PICTURE, time.monotonic() + 2)

    assert asyncio.run(run()) == Outcome(NOTHING, "unreachable")


@pytest.mark.parametrize(("text", "word"), [("", "empty"), ("!", "not_base64"), (PICTURE * 9, "too_large")])
def test_a_challenge_without_a_picture_asks_nobody(text: str, word: str) -> None:
    service = Service([(0, 200, result(0.8))])
    assert ask(service, [text], max_bytes=12) == [Outcome(NOTHING, word)]
    assert service.deadlines == []
