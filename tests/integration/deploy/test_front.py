"""A real nginx before two small servers: routes, limits, errors, reloads, and what is left of a killed one."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from cascade.process.ready import free_port
from deploy.nginx import front
from deploy.nginx.front import FrontError, FrontSettings, Nginx, Routes
from tests.support.nginx import needs_nginx

pytestmark = [pytest.mark.integration, needs_nginx]


class Named(BaseHTTPRequestHandler):
    """Answers with the server's name, and counts."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(dict(self.headers))  # type: ignore[attr-defined]
        name = self.server.name.encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(name)))
        self.end_headers()
        self.wfile.write(name)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ThreadingHTTPServer, ThreadingHTTPServer]]:
    """Blue and green."""
    made = []
    for name in ("blue", "green"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Named)
        server.name, server.seen = name, []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.append(server)
    yield made[0], made[1]
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    yield make(tmp_path)
    front.stop(tmp_path / "nginx")


def make(folder: Path, **changes: object) -> Nginx:
    port = free_port("127.0.0.1", 0)
    given = {"host": "127.0.0.1", "port": port, "wanted": port, "max_body_bytes": 1000}
    return Nginx(FrontSettings.model_validate({**given, **changes}), folder / "nginx")


def post(nginx: Nginx, count: int = 1, size: int = 10, **headers: str) -> Counter[str]:
    answers = [
        httpx.post(f"{nginx.url}/v1/predict", content=b"x" * size, headers=headers, verify=False, trust_env=False)  # noqa: S501
        for _ in range(count)
    ]
    return Counter(answer.text if answer.status_code == 200 else str(answer.status_code) for answer in answers)


def ports(servers: tuple[ThreadingHTTPServer, ThreadingHTTPServer]) -> tuple[int, int]:
    return servers[0].server_address[1], servers[1].server_address[1]


def test_routes(nginx: Nginx, servers: tuple[ThreadingHTTPServer, ThreadingHTTPServer]) -> None:
    blue, green = ports(servers)
    # without a service: 503 in the service's own form of an error, and when to come again
    nginx.apply(Routes())
    answer = httpx.get(nginx.url, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["reason"], answer.headers["Retry-After"]) == (503, "away", "2")
    nginx.apply(Routes(live=(blue,)))
    assert post(nginx, 5) == {"blue": 5}
    assert httpx.post(nginx.url, content=b"x" * 1001, trust_env=False).json()["error"]["reason"] == "too_large"
    nginx.apply(Routes(live=(blue,), candidate=green, canary_percent=50, log=True))
    assert min(post(nginx, 40).values()) > 5
    assert {f"127.0.0.1:{port}" for port in (blue, green)} == {json.loads(line)["upstream"] for line in log(nginx)}
    # a copy of each request goes to the candidate, with its body
    before = len(servers[1].seen)  # type: ignore[attr-defined]
    nginx.apply(Routes(live=(blue,), candidate=green, shadow=True, log=True))
    assert post(nginx, 5) == {"blue": 5}
    until = time.monotonic() + 10
    while len(servers[1].seen) < before + 5 and time.monotonic() < until:  # type: ignore[attr-defined]
        time.sleep(0.02)
    assert len(servers[1].seen) == before + 5  # type: ignore[attr-defined]
    # the second one answers where nobody listens at the first
    nginx.apply(Routes(live=(free_port("127.0.0.1", 0), green)))
    assert post(nginx, 5) == {"green": 5}


def log(nginx: Nginx) -> list[str]:
    return nginx.access_log.read_text(encoding="utf-8").splitlines()


def test_what_the_service_is_told_of_a_request(
    nginx: Nginx, servers: tuple[ThreadingHTTPServer, ThreadingHTTPServer]
) -> None:
    nginx.apply(Routes(live=ports(servers)[:1]))
    post(nginx, **{"X-Request-ID": "mine", "X-Forwarded-For": "6.6.6.6", "Authorization": "Bearer k"})
    post(nginx)
    first, second = servers[0].seen[-2:]  # type: ignore[attr-defined]
    assert (first["X-Request-ID"], first["X-Forwarded-For"], first["Authorization"]) == (
        "mine",
        "127.0.0.1",
        "Bearer k",
    )
    assert len(second["X-Request-ID"]) == 32


def test_a_broken_configuration_changes_nothing(
    nginx: Nginx, servers: tuple[ThreadingHTTPServer, ThreadingHTTPServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    blue, green = ports(servers)
    nginx.apply(Routes(live=(blue,)))
    before = (nginx.prefix / "nginx.conf").read_text(encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(nginx, "render", lambda _: before.replace("upstream live", "upsteam live"))
        with pytest.raises(FrontError, match='unknown directive "upsteam"'):
            nginx.apply(Routes(live=(green,)))
    assert (nginx.prefix / "nginx.conf").read_text(encoding="utf-8") == before
    assert post(nginx, 3) == {"blue": 3}
    assert [path.name for path in nginx.prefix.glob("*.conf")] == ["nginx.conf"]


@pytest.mark.parametrize("all_of_it", [False, True])
def test_a_killed_nginx_is_started_again_on_its_port(
    nginx: Nginx, servers: tuple[ThreadingHTTPServer, ThreadingHTTPServer], all_of_it: bool
) -> None:
    blue, green = ports(servers)
    nginx.apply(Routes(live=(blue,)))
    noted = nginx.running()
    assert noted is not None
    master = noted.process()
    assert master is not None
    for process in [master, *(master.children() if all_of_it else [])]:
        process.kill()
    # workers without a master go on, and hold the port
    if not all_of_it:
        assert post(nginx, 3) == {"blue": 3}
        assert front.choose_port("127.0.0.1", nginx.settings.wanted, nginx.prefix) == nginx.settings.port
    nginx.apply(Routes(live=(green,)))
    assert post(nginx, 3) == {"green": 3}


def test_limits_tls_and_status_page(tmp_path: Path, servers: tuple[ThreadingHTTPServer, ThreadingHTTPServer]) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make_key = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=street"]
    subprocess.run([*make_key, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    nginx = make(
        tmp_path, certificate=certificate, certificate_key=key, status_page=True, rate_per_second=1, rate_burst=2
    )
    try:
        nginx.apply(Routes(live=ports(servers)[:1]))
        assert nginx.url.startswith("https://")
        # the burst of one key does not count for another
        assert post(nginx, 6, Authorization="Bearer a")["429"] >= 2
        assert post(nginx, 2, Authorization="Bearer b") == {"blue": 2}
        page = httpx.get(f"{nginx.url}/nginx_status", verify=False, trust_env=False)  # noqa: S501
        assert "Active connections" in page.text
    finally:
        front.stop(nginx.prefix)


def test_reloads_lose_no_request(nginx: Nginx, servers: tuple[ThreadingHTTPServer, ThreadingHTTPServer]) -> None:
    blue, green = ports(servers)
    nginx.apply(Routes(live=(blue,)))
    over, faults = threading.Event(), list[str]()

    def work() -> None:
        with httpx.Client(trust_env=False) as client:
            while not over.is_set():
                try:
                    answer = client.post(nginx.url, content=b"x")
                    faults.extend([] if answer.status_code == 200 else [str(answer.status_code)])
                except httpx.HTTPError as error:
                    faults.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for one in threads:
        one.start()
    for port in [green, blue] * 4:
        nginx.apply(Routes(live=(port,)))
        # whoever asks now is answered by the new route
        assert post(nginx) == {"green" if port == green else "blue": 1}
    over.set()
    for one in threads:
        one.join()
    assert faults == []
    assert front.wait_drained(nginx.prefix, 10)


def test_a_missing_program_and_an_odd_folder_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FrontError, match="move the project"):
        make(tmp_path / 'a"b')
    monkeypatch.setattr(front, "find_nginx", lambda: None)
    with pytest.raises(FrontError, match="apt-get install nginx-light"):
        make(tmp_path)
