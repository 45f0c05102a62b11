"""Libraries beyond the base install: which extra of pyproject.toml brings one, and the line that says so.

The base install serves without torch, and the command line also offers commands of the pipeline. Where one of them
needs a library that is not installed, the message names the extra and the command that adds it.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from importlib.util import find_spec

PROJECT = "streetvision-cascade"
# import names that differ from the name of the package by more than - and _
PACKAGES = {
    "awq": "autoawq",
    "faiss": "faiss-cpu",
    "ruamel": "ruamel-yaml",
    "sklearn": "scikit-learn",
    "modelopt": "nvidia-modelopt",
}


class MissingExtraError(ModuleNotFoundError):
    """A library of an extra is not installed; the message names the extra and the command that adds it."""


def require(purpose: str, *modules: str) -> None:
    """Refuse to go on where a library is not installed; imports nothing.

    Args:
        purpose: what needs them, the subject of the message.
        modules: names of top-level modules.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    if absent := [module for module in modules if find_spec(module) is None]:
        raise MissingExtraError(missing(purpose, *absent), name=absent[0])


def missing(purpose: str, *modules: str) -> str:
    """Say in one line that libraries are not installed, and how to add them where one of our extras brings them all."""
    extra, absent = extra_of(*modules), f"not installed: {', '.join(modules)}"
    if extra is None:
        return f"{purpose} needs more packages ({absent})"
    return f"{purpose} needs the extra `{extra}` ({absent}); `{command(extra)}` adds it"


def explain(error: ModuleNotFoundError, purpose: str) -> str | None:
    """Give the line for a failed import; None where no extra brings the module, as the fault is then in our code."""
    if isinstance(error, MissingExtraError):
        return str(error)
    module = (error.name or "").partition(".")[0]
    return missing(purpose, module) if extra_of(module) else None


def command(extra: str) -> str:
    """The command that adds an extra to what is installed; without --inexact uv would remove the other extras."""
    return f"uv sync --frozen --no-dev --inexact --extra {extra}"


def extra_of(*modules: str) -> str | None:
    """The smallest extra that brings all of these top-level modules; None where none does."""
    packages = {PACKAGES.get(module, module.replace("_", "-")).lower() for module in modules}
    return min((name for name, held in _extras().items() if packages <= held), key=_size, default=None)


def _size(extra: str) -> tuple[int, str]:
    return len(_extras()[extra]), extra


@cache
def _extras() -> dict[str, frozenset[str]]:
    """Names of the packages that each extra adds to the base, from the metadata of the installed project.

    hatchling writes an extra that includes another one with all packages of both.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    try:
        document = metadata(PROJECT)
    except PackageNotFoundError:
        return {}
    found = [Requirement(line) for line in document.get_all("Requires-Dist", [])]
    return {
        extra: frozenset(
            canonicalize_name(one.name) for one in found if one.marker and one.marker.evaluate({"extra": extra})
        )
        for extra in document.get_all("Provides-Extra", [])
    }
