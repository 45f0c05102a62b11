"""Who stands before the services: nginx, or nobody. Both put a release live and take it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cascade.api import process
from cascade.api.process import SERVICES, ServiceState, end, launch, running, set_live, status
from cascade.process.ready import LOOPBACK
from cascade.release.store import RELEASES, Release, load_release
from deploy.nginx import front as nginx
from deploy.nginx.front import FrontSettings, Nginx, Routes, find_nginx
from tasks.config import Params

Say = Callable[[str], object]


class Front(Protocol):
    """How clients reach a release."""

    name: str
    splits: bool  # requests can be shared between two releases

    def check(self) -> None:
        """Refuse what would fail later, before anything is changed; raises FrontError or ServiceError."""

    def prepare(self, release: Release, *, alone: bool) -> ServiceState:
        """Have a service of a release ready that clients do not reach yet; `alone`: the others were stopped."""

    def switch(self, new: ServiceState, release: Release, old: ServiceState | None) -> ServiceState:
        """Let the new service answer all that begins from now on; give the live note."""

    def drop_reserve(self, live: ServiceState) -> None:
        """The old service is no longer there for what the new one does not answer."""

    def pause(self) -> None:
        """Stop the live service: the next one needs its memory."""

    def make_live(self, release_id: str | None) -> ServiceState | None:
        """Whatever runs now: have this release live, by a service that is ready; None: have nothing left.

        Raises:
            ReleaseError: it has no service, and its files are not what its manifest says.
        """


def choose_front(params: Params, say: Say) -> Front:
    """Give the front of params.yaml; where nginx is not installed and need not be, say so in one line.

    Raises:
        FrontError: promotion.front is `nginx`, and it is not installed.
    """
    wanted = params.promotion.front
    if wanted == "nginx" or (wanted == "auto" and find_nginx()):
        return NginxFront(params)
    if wanted == "auto":
        say("nginx is not installed: the service answers itself, and a switch interrupts it for seconds")
    return DirectFront(params)


def services() -> list[ServiceState]:
    """The services of this folder that live, the live one first."""
    return [found for found in (status(), *running()) if found]


def ready_service(release_id: str) -> ServiceState | None:
    """The service of a release that runs and is ready, live or kept warm."""
    for one in services():
        if one.release == release_id and process.readiness(one.address) == ("ready", release_id):
            return one
    return None


def stored(release_id: str) -> Release:
    """A release that was live already, checked by the size of its files: the service that loads it compares digests.

    Raises:
        ReleaseError: a file is missing, or of another size.
    """
    return load_release(RELEASES / release_id, digests=False)


def end_service(noted: ServiceState | None) -> None:
    """Stop a service and remove its note."""
    if noted is not None:
        end(noted)
        (SERVICES / f"{noted.release}.json").unlink(missing_ok=True)


def end_all_but(kept: ServiceState | None) -> None:
    """Stop all services of this folder except one."""
    for one in services():
        if kept is None or one.pid != kept.pid:
            end_service(one)


def _hidden(params: Params) -> Params:
    """The parameters of a service that only this machine reaches, on any free port."""
    return params.model_copy(update={"serve": params.serve.model_copy(update={"host": LOOPBACK, "port": 0})})


class NginxFront:
    """nginx listens on serve.host and serve.port; services listen on ports of the loopback address."""

    name, splits = "nginx", True

    def __init__(self, params: Params) -> None:
        self._params = params
        self.nginx = Nginx(_settings(params))

    def check(self) -> None:
        """Have nginx look at the configuration of a switch, with the ports of two services that need not run."""
        self.nginx.check(self.nginx.render(Routes(live=(1,), candidate=2, canary_percent=10, log=True)))
        self.nginx.check(self.nginx.render(Routes(live=(1,), candidate=2, shadow=True, log=True)))

    def prepare(self, release: Release, *, alone: bool) -> ServiceState:
        """Use the service that is warm, or start one."""
        return ready_service(release.id) or launch(release, _hidden(self._params).runtime)

    def route(self, routes: Routes) -> None:
        """Share requests between two services, for a canary or a shadow."""
        self.nginx.apply(routes)

    def switch(self, new: ServiceState, release: Release, old: ServiceState | None) -> ServiceState:
        """Point nginx at the new service; until `drop_reserve` the old one answers where the new one does not."""
        self._clear_port()
        there = old is not None and old.process() is not None and old.port != self.nginx.settings.port
        self.nginx.apply(Routes(live=(new.port, old.port) if old and there else (new.port,), log=True))
        return set_live(new, self.nginx.url)

    def drop_reserve(self, live: ServiceState) -> None:
        """Point nginx at the live service alone, without a log."""
        self.nginx.apply(Routes(live=(live.port,)))

    def pause(self) -> None:
        """Let nginx answer 503 with Retry-After, and stop the service when its requests have ended."""
        if self.nginx.running():
            self.nginx.apply(Routes())
            nginx.wait_drained(self.nginx.prefix, self.nginx.settings.drain_seconds)
        end_all_but(None)

    def make_live(self, release_id: str | None) -> ServiceState | None:
        """Point nginx at a ready service of this release, which is started where none is; None: stop nginx too."""
        if release_id is None:
            nginx.stop(self.nginx.prefix)
            process.stop()
            return None
        self._clear_port()
        service = ready_service(release_id) or launch(stored(release_id), _hidden(self._params).runtime)
        self.drop_reserve(service)
        return set_live(service, self.nginx.url)

    def _clear_port(self) -> None:
        """Stop a service that listens itself where nginx should: it was started without a front."""
        for one in services():
            if one.port == self.nginx.settings.port:
                end_service(one)


class DirectFront:
    """The service listens on serve.host and serve.port itself, so a switch is a stop and a start."""

    name, splits = "none", False

    def __init__(self, params: Params) -> None:
        self._params = params
        self._in_place: int | None = None  # process that was started where clients ask

    def check(self) -> None:
        """Nothing stands before the service that could fail."""

    def prepare(self, release: Release, *, alone: bool) -> ServiceState:
        """Start beside the live service, which is only stopped for a release that answers; else where clients ask."""
        if (found := ready_service(release.id)) is None:
            found = launch(release, self._params.runtime if alone else _hidden(self._params).runtime)
            self._in_place = found.pid if alone else None
        return found

    def switch(self, new: ServiceState, release: Release, old: ServiceState | None) -> ServiceState:
        """Stop the old service, and start the new release where clients ask, unless it is there already."""
        nginx.stop()
        if new.pid == self._in_place or new == status():
            return set_live(new)
        end_all_but(None)
        return set_live(launch(release, self._params.runtime))

    def drop_reserve(self, live: ServiceState) -> None:
        """Nothing is left to do."""

    def pause(self) -> None:
        """Stop the live service."""
        nginx.stop()
        end_all_but(None)

    def make_live(self, release_id: str | None) -> ServiceState | None:
        """Have a service of this release where clients ask; None: stop all."""
        nginx.stop()
        if release_id is None:
            process.stop()
            return None
        live = status()
        if live and live.private is None and ready_service(release_id) == live:
            end_all_but(live)
            return live
        release = stored(release_id)
        end_all_but(None)
        return set_live(launch(release, self._params.runtime))


def _settings(params: Params) -> FrontSettings:
    options = params.promotion.nginx.model_dump()
    body, host, wanted = params.serve.max_request_bytes, params.serve.host, params.serve.port
    live = status()
    # a service without a front makes room for nginx
    port = live.port if live and live.private is None else nginx.choose_port(host, wanted)
    return FrontSettings(host=host, port=port, wanted=wanted, max_body_bytes=body, **options)
