"""A miner that takes and gives plain JSON over HTTP, and behaves as its address says."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

SLOW_SECONDS = 0.6
# what is answered at an address: status and body
GIVEN = {
    "/half": (200, '{"prediction": 0.5}'),
    "/high": (200, '{"prediction": 1.7}'),
    "/none": (200, '{"prediction": -1.0}'),
    "/nan": (200, '{"prediction": NaN}'),
    "/true": (200, '{"prediction": true}'),
    "/other": (200, '{"probability": 0.9}'),
    "/list": (200, "[0.9]"),
    "/page": (200, "<html>"),
    "/broken": (500, '{"prediction": 0.9}'),
    "/slow": (200, '{"prediction": 0.9}'),
}


class HttpMinerServer(ThreadingHTTPServer):
    """Gives what `GIVEN` says; `/orange` looks at the picture as the tiny classifier does. Counts the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.count = 0

    def url(self, path: str) -> str:
        """An address below it."""
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: HttpMinerServer

    def do_POST(self) -> None:
        """Answer it."""
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.count += 1
        if self.path == "/slow":
            time.sleep(SLOW_SECONDS)
        status, body = GIVEN.get(self.path) or (200, json.dumps({"prediction": orange(document["image"])}))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


def orange(image: str) -> float:
    """0.9 where the upper half is redder than blue, else 0.1."""
    with Image.open(io.BytesIO(base64.b64decode(image))) as opened:
        red, _, blue = opened.crop((0, 0, 224, 112)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    return 0.9 if red > blue else 0.1


@contextmanager
def serving() -> Iterator[HttpMinerServer]:
    """Serve until the end of the block."""
    server = HttpMinerServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
