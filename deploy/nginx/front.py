"""nginx before the service: its configuration rendered, checked by `nginx -t`, put in place by a rename, and reloaded.

nginx runs with a prefix of its own and as the user who starts it; nothing below /etc or /var/log is read or written.
It outlives the one that started it, and `PREFIX/nginx.json` names it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cascade.api.process import url_of
from cascade.process import tree
from cascade.process.ready import NotReadyError, bindable, free_port, tail, wait_ready
from cascade.process.record import ProcessRecord, folder_of, read
from cascade.process.supervisor import start_detached

PREFIX = Path("var/nginx")
NOTE = "nginx.json"
PROGRAM = "nginx"
# Debian puts it where the PATH of a user need not lead
PLACES = ("/usr/sbin", "/usr/local/sbin", "/sbin")
TEMPLATE = Path(__file__).with_name("front.conf.jinja")
START_SECONDS = 10.0
STOP_SECONDS = 5.0
LARGEST_LOG = 64 << 20  # bytes; a larger one is replaced by an empty one at the next promotion
FOLDERS = ("body", "proxy", "fastcgi", "uwsgi", "scgi")
# kept so that Python does not complain of children that are meant to live on
_children: list[subprocess.Popen[bytes]] = []


class FrontError(RuntimeError):
    """nginx is missing, refuses its configuration, or does not start or reload."""


class FrontSettings(BaseModel):
    """What does not change from one promotion to the next; see section `promotion.nginx` of params.yaml.

    `wanted` is the port of params.yaml, `port` the one after it that was free.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    host: str
    port: int
    wanted: int
    max_body_bytes: int
    workers: int | str = "auto"
    upstream_seconds: int = 60
    client_seconds: int = 15
    client_keep_alive_seconds: int = 0
    drain_seconds: int = 60
    rate_per_second: int = 0
    rate_burst: int = 20
    certificate: Path | None = None
    certificate_key: Path | None = None
    status_page: bool = False


class Routes(BaseModel):
    """Who answers: ports of services on the loopback address.

    Attributes:
        live: the first one answers, the others where it does not; empty while no service runs.
        candidate: takes `canary_percent` of the requests, and a copy of each where `shadow` is on.
        log: keep the access log, which a watch reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    live: tuple[int, ...] = ()
    candidate: int | None = None
    canary_percent: int = 0
    shadow: bool = False
    log: bool = False


class FrontRecord(ProcessRecord):
    """The nginx that runs, the digest of the configuration that it took over last, and its ports as in the settings."""

    config: str
    port: int
    wanted: int


def find_nginx() -> str | None:
    """The path of the program, None where it is not installed."""
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path=os.pathsep.join(PLACES))


class Nginx:
    """One nginx with its own prefix.

    Args:
        settings: see FrontSettings.
        prefix: takes its configuration, logs, note and temporary files; made with mode 0700.

    Raises:
        FrontError: nginx is not installed, or the prefix cannot stand in a configuration.
    """

    def __init__(self, settings: FrontSettings, prefix: Path = PREFIX) -> None:
        program = find_nginx()
        if program is None:
            raise FrontError("nginx is not installed: `apt-get install nginx-light`, or promotion.front: none")
        self._program, self.settings, self.prefix = program, settings, prefix.resolve()
        if any(sign in str(self.prefix) for sign in '"$\n{};'):
            raise FrontError(f"{self.prefix}: nginx cannot be given a folder of this name; move the project")
        self._note, self._config = self.prefix / NOTE, self.prefix / "nginx.conf"
        self.access_log = self.prefix / "access.log"

    @property
    def url(self) -> str:
        """Where clients reach it from this machine."""
        url = url_of(self.settings.host, self.settings.port)
        return url.replace("http:", "https:", 1) if self.settings.certificate else url

    def render(self, routes: Routes) -> str:
        """Give the configuration for these routes."""
        from jinja2 import Environment, StrictUndefined

        # not HTML: a value is escaped by the quotes of the template, and __init__ refuses what would leave them
        environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
        # without a service the port 9 (discard) refuses, and nginx answers 503 with Retry-After
        upstreams = {"live": routes.live or (9,)}
        if routes.candidate is not None:
            upstreams["candidate"] = (routes.candidate,)
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        more: dict[str, Any] = {
            "prefix": self.prefix,
            "user": "root" if os.geteuid() == 0 else None,
            "listen": f"{host}:{self.settings.port}",
            "upstreams": upstreams,
        }
        values = routes.model_dump(exclude={"live", "candidate"}) | self.settings.model_dump(
            exclude={"host", "port", "wanted"}
        )
        return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(**values, **more)

    def check(self, text: str) -> None:
        """Have `nginx -t` look at a configuration.

        Raises:
            FrontError: with what nginx says.
        """
        self._make_folders()
        candidate = self.prefix / f"check.{os.getpid()}.conf"
        try:
            candidate.write_text(text, encoding="utf-8")
            command = [self._program, "-t", "-q", "-e", "stderr", "-p", str(self.prefix), "-c", str(candidate)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        finally:
            candidate.unlink(missing_ok=True)
        if done.returncode != 0:
            raise FrontError(f"nginx refuses its configuration: {done.stderr.strip()} (params.yaml, section promotion)")

    def apply(self, routes: Routes) -> None:
        """Check the configuration for these routes, put it in place, and reload nginx, or start it.

        When this returns, every new connection is answered by the new routes; requests that run end with the old ones.

        Raises:
            FrontError: nginx refuses it, or does not take it over; the old one is in force then.
        """
        text = self.render(routes)
        running, digest = self.running(), hashlib.sha256(text.encode()).hexdigest()
        if running and running.config == digest and self._text() == text:
            return
        self.check(text)
        before = self._text()
        self._write(text)
        try:
            self._reload(running, digest) if running else self._start(digest)
        except BaseException:
            if before is not None:
                self._write(before)
            if running and (process := running.process()):
                tree.send(process, signal.SIGHUP)
            raise

    def running(self) -> FrontRecord | None:
        """The nginx of this prefix where its master process lives, else None."""
        return running(self.prefix)

    def _start(self, digest: str) -> None:
        stop(self.prefix)
        try:
            bindable(self.settings.host, self.settings.port)
        except OSError as error:
            where = f"{self.settings.host}:{self.settings.port}"
            raise FrontError(f"nginx cannot listen on {where}: {error.strerror}; set serve.port") from None
        if self.access_log.exists() and self.access_log.stat().st_size > LARGEST_LOG:
            self.access_log.unlink()
        log = self.prefix / "start.log"
        files = ["-e", str(self.prefix / "error.log"), "-p", str(self.prefix), "-c", str(self._config)]
        # the mark of a detached service as an argument, since nginx writes its title over its environment
        mark = f"env {tree.DETACHED}={secrets.token_hex(8)};"
        child = start_detached([self._program, *files, "-g", mark], log)
        _children.append(child)
        noted = FrontRecord(
            pid=child.pid,
            started=tree.started_at(child.pid) or 0.0,
            folder=folder_of(self._note),
            config=digest,
            port=self.settings.port,
            wanted=self.settings.wanted,
        )
        noted.write(self._note)
        try:
            wait_ready(child, lambda: bool(_workers(noted)), START_SECONDS, log)
        except NotReadyError as error:
            stop(self.prefix)
            raise FrontError(f"nginx {error}\n{tail(self.prefix / 'error.log')}") from None

    def _reload(self, running: FrontRecord, digest: str) -> None:
        process, old = running.process(), _workers(running)
        if process is None:
            return self._start(digest)
        tree.send(process, signal.SIGHUP)
        deadline = time.monotonic() + START_SECONDS
        while not (current := _workers(running)) or current & old:
            if running.process() is None:
                return self._start(digest)
            if time.monotonic() > deadline:
                raise FrontError(f"nginx did not reload; the end of {self.prefix / 'error.log'}:\n{self._errors()}")
            time.sleep(0.02)
        running.model_copy(update={"config": digest, "port": self.settings.port, "wanted": self.settings.wanted}).write(
            self._note
        )
        return None

    def _errors(self) -> str:
        return tail(self.prefix / "error.log")

    def _text(self) -> str | None:
        return self._config.read_text(encoding="utf-8") if self._config.is_file() else None

    def _write(self, text: str) -> None:
        """Replace the configuration in one step; it is on the disk before nginx reads it."""
        partial = self._config.with_name(f".nginx.{os.getpid()}.conf")
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._config)

    def _make_folders(self) -> None:
        self.prefix.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in FOLDERS:
            (self.prefix / name).mkdir(exist_ok=True, mode=0o700)


def running(prefix: Path = PREFIX) -> FrontRecord | None:
    """The nginx of a prefix where its master process lives, else None."""
    noted = _noted(prefix)
    return noted if noted and noted.process() else None


def leftovers(prefix: Path = PREFIX) -> bool:
    """Whether an nginx of a prefix runs, or workers of one that was killed, which hold its port."""
    noted = _noted(prefix)
    return noted is not None and bool(noted.process() or tree.members(noted.pid))


def choose_port(host: str, wanted: int, prefix: Path = PREFIX) -> int:
    """The port that an nginx has, or had when it was killed; else `wanted` or the next free one.

    Raises:
        FrontError: none is free.
    """
    noted = _noted(prefix)
    if noted and noted.wanted == wanted and (noted.process() or tree.members(noted.pid) or _free(host, noted.port)):
        return noted.port
    try:
        return free_port(host, wanted)
    except OSError as error:
        raise FrontError(f"{error}; set serve.port") from None


def stop(prefix: Path = PREFIX) -> bool:
    """Stop the nginx of a prefix; False where none ran. Its workers are ended too where the master was killed."""
    noted = _noted(prefix)
    if noted is None:
        return False
    found = noted.process() is not None
    tree.end_session(noted.pid, noted.started, STOP_SECONDS)
    (prefix / NOTE).unlink(missing_ok=True)
    return found


def wait_drained(prefix: Path = PREFIX, seconds: float = 60.0) -> bool:
    """Wait until the requests that began before the last reload have ended; False where they have not."""
    deadline = time.monotonic() + seconds
    while (noted := running(prefix)) and _workers(noted, leaving=True):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _free(host: str, port: int) -> bool:
    with suppress(OSError):
        return bindable(host, port) == port
    return False


def _noted(prefix: Path) -> FrontRecord | None:
    noted = read(prefix / NOTE, FrontRecord)
    return noted if noted and noted.belongs_to(prefix / NOTE) else None


def _workers(noted: FrontRecord, *, leaving: bool = False) -> set[int]:
    """Process ids of the workers that accept connections, or of those that only finish their requests."""
    import psutil

    process, found = noted.process(), set()
    with suppress(psutil.Error):
        for child in process.children() if process else ():
            with suppress(psutil.Error):
                title = " ".join(child.cmdline())
                if "worker process" in title and ("shutting down" in title) == leaving:
                    found.add(child.pid)
    return found
