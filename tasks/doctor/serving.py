"""The live service: whether it answers, and whether pointer, service, nginx and ledger name one release."""

from __future__ import annotations

from collections.abc import Iterator

from cascade.api.process import ServiceState, copied, readiness, status
from cascade.release.store import RELEASES, ReleaseError, champion
from deploy.nginx import front as nginx
from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import Context, check

START = "`streetvision up` starts it as the ledger says; `make run` does too"


@check("champion")
def release(context: Context) -> Iterator[Finding]:
    """The release that the pointer names; its files are compared by size, as their digests would take long."""
    try:
        found = champion(RELEASES, digests=False)
    except ReleaseError as failure:
        yield error(str(failure), "`streetvision rollback`, or `make run` builds and promotes a new one")
        return
    if found is None:
        yield not_asked("no release is champion yet", "`make run` builds and promotes one")
    else:
        engine = found.manifest.engine
        yield ok(f"release {found.id}: {engine.kind} {engine.precision}, {len(found.manifest.files)} files")


@check("service")
def service(context: Context) -> Iterator[Finding]:
    """The process that the note names must answer, with the release that it is noted with."""
    live = status()
    if live is None:
        other = copied()
        if other:
            yield warning(
                f"var/service.json names the service of {other.folder}", "this folder is a copy; `streetvision up`"
            )
        elif (RELEASES / "champion").is_symlink():
            yield warning("a release is champion, and no service runs", START)
        else:
            yield not_asked("no service runs here")
        return
    yield from _answers(live)


def _answers(live: ServiceState) -> Iterator[Finding]:
    private, public = readiness(live.address), readiness(live.url)
    log = f"var/services/{live.release}.log has the reason; `streetvision up` keeps it running"
    if private is None:
        yield error(f"process {live.pid} does not answer at {live.address}", log)
        return
    if private != ("ready", live.release):
        yield error(
            f"the service at {live.address} is {private[0]} with release {private[1]}, noted is {live.release}", log
        )
    else:
        yield ok(f"release {live.release} is ready at {live.address}")
    if live.private is None:
        return
    if nginx.running() is None:
        yield error("nginx, which clients reach the service by, has ended", "`streetvision up` starts it again")
    elif public is None or public[1] != private[1]:
        said = public[1] if public else "nothing"
        yield error(
            f"nginx at {live.url} leads to release {said}, and {private[1]} is live",
            "`streetvision promote` or `rollback` repairs it, and so does `streetvision up`",
        )
    else:
        yield ok(f"nginx at {live.url} leads to it")
