"""Versions by the name in the import statement."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from tasks.common import libraries
from tasks.common.imports import reachable
from tasks.common.libraries import ABSENT, library_version
from tests.support.paths import ROOT

MODULES = [
    file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for package in ("cascade", "tasks")
    for file in sorted((ROOT / package).rglob("*.py"))
    if file.name != "__init__.py"
]


# the service's alone: the key of no step has their version
OF_NO_STEP = {"pynvml"}


@pytest.mark.slow
def test_the_quick_way_gives_what_the_installed_files_say() -> None:
    """For every library that the project imports: `packages_distributions` reads all installed files, which is slow."""
    owners = metadata.packages_distributions()
    imported = reachable(MODULES).libraries - OF_NO_STEP
    found = {name: library_version(name) for name in imported | libraries.DISTRIBUTIONS.keys()}
    assert found["torch"] != ABSENT
    for name, version in found.items():
        versions = {metadata.version(owner) for owner in owners.get(name, [])}
        assert version in versions or (version == ABSENT and not versions), name


def test_a_library_without_a_quick_way_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "DISTRIBUTIONS", {})
    library_version.cache_clear()
    assert library_version("PIL") == f"pillow {metadata.version('pillow')}"
    library_version.cache_clear()


@pytest.mark.parametrize("name", ["bpy_is_not_here", "_no_such_thing"])
def test_what_is_not_installed(name: str) -> None:
    assert library_version(name) == ABSENT


def test_a_module_that_nobody_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lying_about.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert library_version("lying_about") == "of no distribution"
