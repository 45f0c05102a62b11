"""What stands in for vLLM where the server's manager is tested: real processes, no model. Run as a script.

It takes vLLM's arguments, has a child as vLLM's engine is one, and behaves as the word in $VLLM_DOUBLE says.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEHAVIOUR = os.environ.get("VLLM_DOUBLE", "good")
STATE = {"sleeping": False}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.reply({"is_sleeping": STATE["sleeping"]} if self.path == "/is_sleeping" else {})

    def do_POST(self) -> None:
        if BEHAVIOUR == "no-sleep":
            self.send_error(404)
            return
        STATE["sleeping"] = self.path.startswith("/sleep")
        self.reply({})

    def reply(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def main() -> None:
    print("arguments", sys.argv[1:], "key", os.environ["VLLM_API_KEY"], flush=True)
    if BEHAVIOUR == "broken":
        sys.exit("RuntimeError: no kernel image")
    if BEHAVIOUR == "no-sleep-mode" and "--enable-sleep-mode" in sys.argv:
        sys.exit("Value error, Sleep mode is not supported on current platform.")
    if BEHAVIOUR == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # a child in a group of its own, which ignores what it is asked
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", child], process_group=0)
    if BEHAVIOUR == "never":
        time.sleep(600)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
