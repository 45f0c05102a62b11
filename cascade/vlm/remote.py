"""A client of an OpenAI-compatible server on this machine: one question a picture, its log-probabilities the answer."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cascade.vlm.base import Clip, VlmAnswer, VlmError
from cascade.vlm.pictures import as_content
from cascade.vlm.reading import AnswerWords, GeneratedToken, read
from cascade.vlm.settings import VlmSettings

if TYPE_CHECKING:
    from PIL import Image

PATH = "/v1/chat/completions"
TOP = 20  # what OpenAI's API and vLLM give at most
MAX_REPLY = 1 << 20  # bytes; an answer of a few tokens has a few thousand
PAUSE = 0.2  # s, before the first try again; doubled for each further one
BUSY = {408, 425, 429, 500, 502, 503, 504}


class _RetryableError(Exception):  # no error yet: another try may do
    """The server did not answer this time."""


class _RefusedError(Exception):
    """The server refuses; asking again changes nothing."""


class RemoteVlm:
    """Sends questions to a server. Where it is slow, dead or malformed the answer is an abstention with the reason.

    Args:
        url: gives the server's root; called every time, since a restarted server may have moved to another port.
        key: its API key.
        model: the name under which it serves the model for pictures.
        clip_model: the same for clips; None: clips get no answer.
        settings: question, words and limits.
    """

    def __init__(
        self, url: Callable[[], str], key: str, model: str, clip_model: str | None, settings: VlmSettings
    ) -> None:
        import httpx

        self._url, self._key, self._settings = url, key, settings
        self._names = {False: model, True: clip_model}
        self._words = AnswerWords(settings.yes_words, settings.no_words, settings.min_mass)
        # what a proxy setting or a redirect could do, send pictures to strangers, is off
        self._client = httpx.Client(trust_env=False, follow_redirects=False)
        self._pool = ThreadPoolExecutor(max_workers=settings.batch_size, thread_name_prefix="vlm")

    def run(self, items: Sequence[Image.Image | Clip]) -> list[VlmAnswer]:
        """See `VlmBackend.run`: side by side, for the server batches them itself."""
        deadline = time.monotonic() + self._settings.time_limit_seconds
        return list(self._pool.map(lambda item: self._run(item, deadline), items))

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _run(self, item: Image.Image | Clip, deadline: float) -> VlmAnswer:
        import httpx

        name = self._names[isinstance(item, Clip)]
        if name is None:
            return VlmAnswer("off", why="no model for clips is set (vlm.clip_model)")
        body = self._body(item, name)
        why = "the server did not answer"
        for attempt in range(self._settings.retries + 1):
            if attempt and time.monotonic() + PAUSE * 2 ** (attempt - 1) < deadline:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            if time.monotonic() >= deadline:
                return VlmAnswer("timeout", why=f"no answer within {self._settings.time_limit_seconds:g} s; {why}")
            try:
                return self._read(self._post(body, deadline))
            except (httpx.TimeoutException, TimeoutError):
                return VlmAnswer("timeout", why=f"no answer within {self._settings.time_limit_seconds:g} s")
            except (httpx.HTTPError, _RetryableError) as error:
                why = f"the server failed: {error or type(error).__name__}"
            except (_RefusedError, VlmError) as error:
                return VlmAnswer("failed", why=str(error))
        return VlmAnswer("failed", why=f"{why} ({self._settings.retries + 1} tries)")

    def _body(self, item: Image.Image | Clip, name: str) -> dict[str, Any]:
        content = [as_content(item, self._settings.max_side), {"type": "text", "text": self._settings.prompt}]
        return {
            "model": name,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self._settings.max_tokens,
            "temperature": 0,
            "seed": 0,
            "logprobs": True,
            "top_logprobs": TOP,
            "chat_template_kwargs": {"enable_thinking": self._settings.thinking},
        }

    def _post(self, body: dict[str, Any], deadline: float) -> bytes:
        """Send, and read at most MAX_REPLY bytes until the deadline, however slowly they come."""
        url = checked_url(self._url()) + PATH
        left = max(deadline - time.monotonic(), 0.01)
        headers = {"Authorization": f"Bearer {self._key}"}
        reply = bytearray()
        with self._client.stream("POST", url, json=body, headers=headers, timeout=left) as answer:
            for piece in answer.iter_bytes():
                reply += piece
                if len(reply) > MAX_REPLY:
                    raise _RefusedError(f"the server's answer is longer than {MAX_REPLY} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError
        if answer.status_code in BUSY:
            raise _RetryableError(f"HTTP {answer.status_code}")
        if answer.status_code != 200:
            raise _RefusedError(
                f"the server refuses: HTTP {answer.status_code}: {reply[:200].decode('utf-8', 'replace')}"
            )
        return bytes(reply)

    def _read(self, reply: bytes) -> VlmAnswer:
        try:
            positions = _positions(json.loads(reply))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            return VlmAnswer("malformed", why=f"malformed answer: {type(error).__name__}: {str(error)[:120]}")
        return read(positions, self._words)


def _positions(document: Any) -> list[GeneratedToken]:
    """The generated tokens with their likeliest rivals, as OpenAI's API gives them."""
    given = document["choices"][0]["logprobs"]["content"]
    return [GeneratedToken(str(token["token"]), _top([*token["top_logprobs"], token])) for token in given]


def _top(tokens: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {str(token["token"]): float(token["logprob"]) for token in tokens}


def checked_url(url: str) -> str:
    """Give the URL without a slash at its end.

    Raises:
        VlmError: it is not plain HTTP on this machine: pictures of streets go nowhere else.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if parts.scheme != "http" or not local or parts.username or parts.password:
        raise VlmError(f"{url}: the VLM's server must be http on this machine, such as http://127.0.0.1:8000")
    return url.rstrip("/")
