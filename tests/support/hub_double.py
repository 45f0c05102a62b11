"""A Hugging Face Hub on loopback, as far as a snapshot needs one: its API, LFS redirects to a store, and ranges."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".parquet", ".bin")
PIECE = 1 << 16


@dataclass(frozen=True)
class Request:
    """What came in; `sent` is filled in while the body goes out."""

    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class Hub:
    """The repositories, the troubles that are asked for, and what came in.

    Attributes:
        repos: files by repository (a data set's with `datasets/` before it).
        revision: the one commit of all of them.
        gated: repositories that want `token`.
        card: licence that every card names.
        stall: name of a file whose body stops half-way until `flow` is set.
        broken: names of files whose bodies are not what their digest says.
    """

    repos: dict[str, dict[str, bytes]]
    revision: str = "a" * 40
    gated: set[str] = field(default_factory=set)
    token: str = "hf_granted"  # noqa: S105  # of the double alone
    card: str | None = None
    stall: str = ""
    broken: set[str] = field(default_factory=set)
    flow: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)
    seen: list[Request] = field(default_factory=list)
    url: str = ""
    store: str = ""

    def bodies(self, ending: str = "") -> list[Request]:
        """File bodies that were asked for, those of redirects once."""
        found = [one for one in self.seen if one.method == "GET" and ("/resolve/" in one.path or "/store/" in one.path)]
        return [one for one in found if one.path.endswith(ending) and not self._redirected(one)]

    def _redirected(self, request: Request) -> bool:
        return "/resolve/" in request.path and request.path.endswith(LARGE)


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve until the block ends: the Hub and, on another port, the store that it redirects to."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub)) for _ in range(2)]
    hub.url, hub.store = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.flow.set()
        for server in servers:
            server.shutdown()
            server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            token = self.headers.get("Authorization")
            hub.seen.append(Request(self.command, path, self.headers.get("Range"), token))
            parts = path.strip("/").split("/")
            if parts[0] == "store":
                end = 4 if parts[1] == "datasets" else 3
                self._file(hub.repos["/".join(parts[1:end])]["/".join(parts[end:])], parts[-1])
            elif parts[0] == "api":
                self._api(parts[1:])
            else:
                self._resolve(parts)

        def _api(self, parts: list[str]) -> None:
            name = "/".join(parts[1:3])
            key = f"datasets/{name}" if parts[0] == "datasets" else name
            if key not in hub.repos:
                self._refuse(404, "RepoNotFound")
            elif parts[3:] == ["auth-check"]:
                self._json({}) if self._allowed(key) else self._refuse(403, "GatedRepo")
            elif parts[4] != hub.revision:
                self._refuse(404, "RevisionNotFound")
            elif parts[3] == "tree":
                self._json([{"type": "file", **_tree(file, data)} for file, data in hub.repos[key].items()])
            else:
                self._json(_info(name, hub, key))

        def _resolve(self, parts: list[str]) -> None:
            at = parts.index("resolve")
            key, revision, file = "/".join(parts[:at]), parts[at + 1], "/".join(parts[at + 2 :])
            if revision != hub.revision or file not in hub.repos.get(key, {}):
                self._refuse(404, "EntryNotFound")
            elif not self._allowed(key):
                self._refuse(403, "GatedRepo")
            elif file.endswith(LARGE):
                data = hub.repos[key][file]
                self.send_response(302)
                self._head(0, data, {"Location": f"{hub.store}/store/{key}/{file}", "X-Linked-Size": str(len(data))})
            else:
                self._file(hub.repos[key][file], file)

        def _file(self, data: bytes, name: str) -> None:
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
            body = (b"\0" * len(data) if name in hub.broken else data)[start:]
            self.send_response(206 if start else 200)
            extra = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
            self._head(len(body), data, extra)
            if self.command == "HEAD":
                return
            for at in range(0, len(body), PIECE):
                if name == hub.stall and not hub.flow.is_set() and at >= len(body) // 2:
                    hub.stalled.set()
                    hub.flow.wait(30)
                    return
                self.wfile.write(body[at : at + PIECE])

        def _head(self, length: int, data: bytes, extra: dict[str, str]) -> None:
            digest = hashlib.sha256(data).hexdigest()
            headers = {"Content-Length": str(length), "ETag": f'"{digest}"', "X-Repo-Commit": hub.revision, **extra}
            for name, text in {**headers, "X-Linked-Etag": f'"{digest}"'}.items():
                self.send_header(name, text)
            self.end_headers()

        def _allowed(self, key: str) -> bool:
            return key not in hub.gated or self.headers.get("Authorization") == f"Bearer {hub.token}"

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _json(self, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _info(name: str, hub: Hub, key: str) -> dict[str, Any]:
    files = [
        {"rfilename": file, "size": len(data), "blobId": "0" * 40, **_lfs(file, data, "sha256")}
        for file, data in hub.repos[key].items()
    ]
    card = {"license": hub.card} if hub.card else {}
    return {
        "id": name,
        "sha": hub.revision,
        "siblings": files,
        "gated": "manual" if key in hub.gated else False,
        "cardData": card,
    }


def _tree(file: str, data: bytes) -> dict[str, Any]:
    return {"path": file, "size": len(data), "oid": "0" * 40, **_lfs(file, data, "oid")}


def _lfs(file: str, data: bytes, digest: str) -> dict[str, Any]:
    if not file.endswith(LARGE):
        return {}
    return {"lfs": {digest: hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 135}}
