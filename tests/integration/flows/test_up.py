"""`streetvision up` and `down` with a real PM2, a real nginx and real services; one start for most cases, in order."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from cascade.api.process import SERVICES, readiness, status
from cascade.process import part
from cascade.process.ready import answers, free_port
from cascade.release.store import Release
from deploy.nginx import front as nginx
from deploy.pm2 import pm2
from flows.server import stop, supervision
from tasks.config import load_params
from tasks.release.promotion import keep
from tasks.release.promotion.journal import Journal
from tests.support import promotion
from tests.support.nginx import needs_nginx
from tests.support.paths import ROOT
from tests.support.pm2 import needs_pm2
from tests.support.promotion import build, clients, make_project, standing
from tests.support.up import ours, run_down, run_up, wait_for

pytestmark = [pytest.mark.integration, needs_nginx, needs_pm2]
Releases = tuple[Release, Release]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[Releases]:
    """Two releases in a folder of their own, which is the current one; the first one is live."""
    # short, as the path of a Unix socket must be
    folder, before = make_project(tmp_path_factory.mktemp("up"), mlflow_database), Path.cwd()
    os.chdir(folder)
    made = build(0.8), build(0.9)
    promotion.promote(made[0])
    yield made
    run_down()
    os.chdir(before)


@pytest.fixture
def kept(releases: Releases) -> Releases:
    """The same, with `up` active; it starts nothing where an earlier test has."""
    done = run_up("--only", "serve")
    assert done.exit_code == 0, done.output
    return releases


def change(section: str, **values: Any) -> None:
    file = Path("params.yaml")
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    document[section] = {**document.get(section, {}), **values}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")


def live_pid() -> int:
    live = status()
    assert live is not None
    return live.pid


def url() -> str:
    live = status()
    assert live is not None
    return live.url


def ready(release: str, before: int | None = None) -> bool:
    """Whether the release answers where clients ask, by another process than before."""
    live = status()
    return live is not None and live.pid != before and readiness(live.url) == ("ready", release)


def nginx_pid(before: int | None = None) -> int | None:
    noted = nginx.running()
    return noted.pid if noted and noted.pid != before else None


def keeper(before: int | None = None) -> int | None:
    noted = part.running("keeper")
    return noted.pid if noted and noted.pid != before else None


@pytest.mark.parametrize(
    ("only", "message"),
    [
        # nothing was promoted here
        ("serve", "no release was promoted yet: `make run`"),
        ("nginx", "there are serve, prefect, mlflow, neuron"),
        ("", "nothing"),
        # the miner needs a key of its own
        ("neuron", "no hotkey at "),
    ],
)
def test_refusals(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch, only: str, message: str
) -> None:
    monkeypatch.chdir(make_project(tmp_path, mlflow_database))
    # where the keys of the person who runs the tests may lie
    monkeypatch.setenv("HOME", str(tmp_path))
    done = run_up("--only", only)
    assert (done.exit_code, message in done.output) == (1, True), done.output
    assert ours(tmp_path) == []


@pytest.mark.usefixtures("releases")
@pytest.mark.parametrize(
    ("group", "variable"),
    [
        # what another program listens at is not taken from it
        ("prefect", "PREFECT_PORT"),
        ("mlflow", "MLFLOW_PORT"),
    ],
)
def test_a_taken_port_is_named_with_its_holder(group: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        monkeypatch.setenv(variable, str(port))
        done = run_up("--only", group)
    assert done.exit_code == 1
    assert f"127.0.0.1:{port} cannot be listened on: process {os.getpid()} (" in done.output
    assert f"set {variable} to another one" in done.output
    assert supervision.running() is None


@pytest.mark.slow
def test_a_probe_sees_a_service_that_hangs_or_grows(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "PROBE_SECONDS", 0.1)
    service = psutil.Process(live_pid())
    assert keep.Probe(0.5, 100).look() is None
    assert "GiB, and 0.001 is its limit" in str(keep.Probe(0, 0.001).look())
    probe = keep.Probe(0.5, 0)
    assert probe.look() is None
    service.suspend()
    try:
        assert "has not answered" in wait_for(probe.look)
    finally:
        service.resume()
    said: list[str] = []
    assert keep.mend(load_params(), "it hangs", said.append, restart=True)
    assert ready(releases[0].id, before=service.pid)
    assert said[0] == "it hangs: it is started again"


def test_up_keeps_what_runs_and_does_so_once(releases: Releases) -> None:
    service = live_pid()
    done = run_up("--only", "serve")
    assert done.exit_code == 0, done.output
    for word in (f"service, release {releases[0].id}", url(), "var/keeper.log", "PM2", "streetvision down"):
        assert word in done.output
    before = live_pid(), nginx_pid(), keeper()
    assert before[0] == service, "a service that runs is not started anew"
    assert run_up("--only", "serve").output == done.output
    assert (live_pid(), nginx_pid(), keeper()) == before
    # nothing of PM2 lies elsewhere
    daemon = pm2.find_daemon()
    assert daemon is not None
    assert daemon.environ()["PM2_HOME"] == str(Path("var/pm2/home").resolve())


def test_make_stop_leaves_it_to_down(kept: Releases) -> None:
    with pytest.raises(SystemExit, match="streetvision down"):
        stop.main()
    assert ready(kept[0].id)


@pytest.mark.parametrize(
    "victims",
    [
        "service",
        "nginx",
        pytest.param("nginx and its workers", marks=pytest.mark.slow),
        pytest.param("both", marks=pytest.mark.slow),
    ],
)
def test_what_is_killed_comes_back_at_its_address(kept: Releases, victims: str) -> None:
    before, address, front = live_pid(), url(), nginx_pid()
    assert front is not None
    master = psutil.Process(front)
    killed = [psutil.Process(before)] if victims in ("service", "both") else []
    if victims != "service":
        killed += [master, *(master.children() if victims != "nginx" else [])]
    for one in killed:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    other_service = before if victims in ("service", "both") else None
    wait_for(lambda: ready(kept[0].id, other_service) and (victims == "service" or nginx_pid(master.pid)))
    assert url() == address
    assert standing().is_(kept[0].id)
    assert other_service is None or (SERVICES / f"{kept[0].id}.crash.log").is_file()


def test_the_end_of_the_keeper_is_noticed_by_no_client(kept: Releases) -> None:
    before, first = (live_pid(), nginx_pid()), keeper()
    started = Path("var/keeper.log").read_text(encoding="utf-8").count("keeps release")
    assert first is not None
    with clients(url(), 2, pause=0.05) as seen:
        os.kill(first, signal.SIGKILL)
        second = wait_for(lambda: keeper(first))
        wait_for(lambda: Path("var/keeper.log").read_text(encoding="utf-8").count("keeps release") > started)
    assert second != first
    assert seen.failed == []
    assert (live_pid(), nginx_pid()) == before


def test_a_promotion_meanwhile_loses_no_request(kept: Releases) -> None:
    one, two = kept
    log = Path("var/keeper.log").read_text(encoding="utf-8")
    with clients(url(), 3, pause=0.02) as seen:
        promotion.promote(two)
        promotion.rollback()
    assert seen.failed == []
    assert {release for _, _, _, release in seen.answers} == {one.id, two.id}
    assert standing().is_(one.id)
    assert Path("var/keeper.log").read_text(encoding="utf-8") == log, "the keeper has nothing to do"


@pytest.mark.slow
def test_a_promotion_that_is_cut_off_is_undone_without_another_run(
    kept: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = kept
    whole = Journal.note

    def note(journal: Journal, step: str, state: str) -> None:
        whole(journal, step, state)
        if step == "watch":
            # as SIGKILL: nothing is cleared up
            os._exit(9)

    monkeypatch.setattr(Journal, "note", note)
    # a fork, since a new process would import for half a minute
    if (child := os.fork()) == 0:
        try:
            promotion.promote(two)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    wait_for(lambda: not keep.find_fault() and standing().is_(one.id))


def test_the_end_of_pm2_is_noticed_by_no_client(kept: Releases) -> None:
    before, daemon = (live_pid(), nginx_pid()), pm2.find_daemon()
    assert daemon is not None
    daemon.kill()
    wait_for(lambda: keeper() is None)
    assert (live_pid(), nginx_pid()) == before
    assert ready(kept[0].id)
    done = run_up("--only", "serve")
    assert (done.exit_code, (live_pid(), nginx_pid()) == before) == (0, True), done.output


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_down_leaves_nothing(killed: bool) -> None:
    if killed:
        daemon, noted, front = pm2.find_daemon(), part.running("keeper"), nginx.running()
        assert daemon
        assert noted
        assert front
        # at once, so that nobody has time to clear up after another
        for pid in (daemon.pid, noted.owner, front.pid):
            os.kill(pid, signal.SIGKILL)
    done = run_down()
    assert done.exit_code == 0, done.output
    assert wait_for(lambda: ours(Path.cwd()) == [])
    assert "no supervisor runs\nno service runs" in run_down().output


def test_our_own_supervisor_where_pm2_is_absent(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pm2, "find_pm2", lambda: None)
    change("serve", port=(port := free_port()))
    with socket.create_server(("127.0.0.1", port)):
        assert f"process {os.getpid()} (" in (refused := run_up("--only", "serve")).output
        assert "set serve.port in params.yaml" in refused.output
    done = run_up("--only", "serve")
    assert done.exit_code == 0, done.output
    assert "(deploy/pm2/install.sh): our own supervisor is used" in done.output
    assert (url(), ready(releases[0].id)) == (f"http://127.0.0.1:{port}", True)
    first = keeper()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: keeper(first))
    noted = supervision.running()
    assert noted is not None
    os.kill(noted.pid, signal.SIGKILL)
    wait_for(lambda: keeper() is None)
    assert ready(releases[0].id)
    assert run_down().exit_code == 0
    assert wait_for(lambda: ours(Path.cwd()) == [])


@pytest.mark.slow
@pytest.mark.flow
@pytest.mark.usefixtures("releases")
def test_prefect_server_and_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one case with Prefect, whose start takes 20 s."""
    port = free_port()
    monkeypatch.setenv("PREFECT_PORT", str(port))
    monkeypatch.setenv("PREFECT_HOME", str(Path("var/prefect").resolve()))
    Path("prefect.yaml").write_text((ROOT / "prefect.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    Path("flows").symlink_to(ROOT / "flows")
    done = run_up("--only", "prefect")
    assert done.exit_code == 0, done.output
    assert f"http://127.0.0.1:{port}" in done.output
    assert answers(f"http://127.0.0.1:{port}/api/deployments/name/retrain/retrain")
    first = part.running("prefect-worker")
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: (again := part.running("prefect-worker")) and again.pid != first.pid)
    assert run_down().exit_code == 0
    assert wait_for(lambda: ours(Path.cwd()) == [])
