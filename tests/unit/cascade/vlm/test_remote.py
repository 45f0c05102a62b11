"""The client against a server that is slow, dead, rude or confused: a real one on loopback, with scripted answers."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from cascade.vlm.base import Clip, VlmError
from cascade.vlm.remote import MAX_REPLY, RemoteVlm, checked_url
from tests.support.vlm_settings import vlm_settings

PICTURE = Image.new("RGB", (64, 48), (200, 120, 30))
CLIP = Clip((PICTURE, PICTURE, PICTURE), 2.0)


def completion(*tokens: tuple[str, dict[str, float]]) -> bytes:
    """A chat completion with these tokens and probabilities."""
    content = [
        {
            "token": text,
            "logprob": math.log(top.get(text, 0.9)),
            "top_logprobs": [{"token": name, "logprob": math.log(p)} for name, p in top.items()],
        }
        for text, top in tokens
    ]
    return json.dumps({"choices": [{"logprobs": {"content": content}}]}).encode()


GOOD = completion(("Yes", {"Yes": 0.8, "No": 0.2}))
Reply = Callable[["Scripted"], None]


class Scripted(BaseHTTPRequestHandler):
    """Answers each request with the next reply of the server's script; the last one again and again."""

    server: Stub

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), json.loads(raw)))
        script = self.server.script
        (script.pop(0) if len(script) > 1 else script[0])(self)

    def send(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


class Stub(ThreadingHTTPServer):
    """The server, its script and what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Scripted)
        self.script: list[Reply] = []
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """A client that hung up is part of the script."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def vlm(stub: Stub, **changes: object) -> RemoteVlm:
    settings = vlm_settings(**{"time_limit_seconds": 5.0, **changes})
    return RemoteVlm(lambda: stub.url, "key", "image-model", "clip-model", settings)


def say(body: bytes, status: int = 200) -> Reply:
    return lambda handler: handler.send(body, status)


def hang(handler: Scripted) -> None:
    time.sleep(1.5)


def drip(handler: Scripted) -> None:
    """A byte now and then: every single read is in time, the whole never is."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(60):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def die(handler: Scripted) -> None:
    """Half an answer, then the connection is gone."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(GOOD)))
    handler.end_headers()
    handler.wfile.write(GOOD[:40])
    handler.wfile.flush()
    handler.connection.close()


@pytest.mark.parametrize(
    ("reply", "limit", "kind", "why"),
    [
        # no JSON, JSON of another shape, of another type, without log-probabilities, too deep
        (say(b"I am sorry"), 5.0, "malformed", "JSONDecodeError"),
        (say(b"{}"), 5.0, "malformed", "KeyError"),
        (say(b"[1]"), 5.0, "malformed", "TypeError"),
        (say(b'{"choices": [{"logprobs": null}]}'), 5.0, "malformed", "TypeError"),
        (say(b"[" * 5000), 5.0, "malformed", "RecursionError"),
        (say(b"\x80"), 5.0, "malformed", "UnicodeDecodeError"),
        # prose instead of an answer
        (say(completion(("The", {"The": 0.9}), (" road", {" road": 0.9}))), 5.0, "malformed", "instead of yes or no"),
        # an answer of a megabyte and more
        (say(b"x" * (MAX_REPLY + 1)), 5.0, "failed", "longer than"),
        # it refuses: no second try
        (say(b"wrong key", 401), 5.0, "failed", "HTTP 401"),
        # it redirects to somewhere else: not followed
        (say(b"", 307), 5.0, "failed", "HTTP 307"),
        # it fails, and again
        (say(b"", 503), 5.0, "failed", "2 tries"),
        # it dies in the middle, and again
        (die, 5.0, "failed", "2 tries"),
        # it does not answer in time; or only drop by drop
        (hang, 0.3, "timeout", "0.3 s"),
        (drip, 0.3, "timeout", "0.3 s"),
    ],
)
def test_a_bad_server_means_an_abstention_with_its_reason(
    stub: Stub, reply: Reply, limit: float, kind: str, why: str
) -> None:
    stub.script = [reply]
    asked = vlm(stub, time_limit_seconds=limit)
    (answer,) = asked.run([PICTURE])
    asked.close()
    assert (answer.kind, answer.logit) == (kind, None)
    assert why in (answer.why or "")


def test_nobody_listens(stub: Stub) -> None:
    stub.server_close()
    (answer,) = vlm(stub).run([PICTURE])
    assert answer.kind == "failed"
    assert "2 tries" in (answer.why or "")


@pytest.mark.parametrize("first", [say(b"", 503), say(b"", 429), die])
def test_a_second_try_may_do(stub: Stub, first: Reply) -> None:
    stub.script = [first, say(GOOD)]
    (answer,) = vlm(stub).run([PICTURE])
    assert answer.logit == pytest.approx(math.log(4))
    assert len(stub.seen) == 2


@pytest.mark.parametrize("reply", [say(b"", 401), say(b"{}")])
def test_no_second_try_where_it_changes_nothing(stub: Stub, reply: Reply) -> None:
    stub.script = [reply]
    vlm(stub).run([PICTURE])
    assert len(stub.seen) == 1


def test_one_bad_answer_leaves_the_others(stub: Stub) -> None:
    stub.script = [say(b"{}"), say(GOOD)]
    kinds = sorted(answer.kind for answer in vlm(stub).run([PICTURE, PICTURE, PICTURE]))
    assert kinds == ["answered", "answered", "malformed"]


def test_what_is_sent(stub: Stub) -> None:
    stub.script = [say(GOOD)]
    vlm(stub).run([PICTURE])
    path, headers, body = stub.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer key"
    assert (body["model"], body["logprobs"], body["temperature"], body["max_tokens"]) == ("image-model", True, 0, 4)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url", "text"]


def test_a_clip_goes_as_its_frames_to_the_model_for_clips(stub: Stub) -> None:
    stub.script = [say(GOOD)]
    vlm(stub).run([CLIP])
    body = stub.seen[0][2]
    url = body["messages"][0]["content"][0]["video_url"]["url"]
    assert body["model"] == "clip-model"
    assert url.startswith("data:video/jpeg;base64,")
    assert url.count(",") == len(CLIP.frames)


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        # elsewhere, an address that only looks like loopback, another protocol, credentials
        ("http://example.com:8000", False),
        ("http://10.0.0.5:8000", False),
        ("http://127.0.0.1.example.com", False),
        ("http://0.0.0.0:8000", False),
        ("https://127.0.0.1:8000", False),
        ("file:///etc/passwd", False),
        ("http://me:secret@127.0.0.1:8000", False),
        ("", False),
        # this machine
        ("http://127.0.0.1:8000/", True),
        ("http://[::1]:8000", True),
        ("http://localhost:8000", True),
    ],
)
def test_only_this_machine(url: str, fine: bool) -> None:
    if fine:
        assert checked_url(url) == url.rstrip("/")
    else:
        with pytest.raises(VlmError, match="on this machine"):
            checked_url(url)


def test_a_server_elsewhere_is_not_asked(stub: Stub) -> None:
    asked = RemoteVlm(lambda: "http://example.com", "key", "m", None, vlm_settings())
    assert [answer.kind for answer in asked.run([PICTURE])] == ["failed"]
    assert [answer.kind for answer in asked.run([CLIP])] == ["off"]
