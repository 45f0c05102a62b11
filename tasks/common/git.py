"""What git knows of the project: nothing where it was unpacked from an archive, also inside another repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tasks.common.files import sha256, sha256_file
from tasks.common.imports import PACKAGES

MARK = "dvc.yaml"


def has_git(root: Path = Path()) -> bool:
    """Whether the project's own files are in a git repository.

    A folder above may belong to another one, which does not have them. Where the program `git` is not installed, the
    folder `.git` alone decides.
    """
    if (root / ".git").exists():
        return True
    return _git(root, "ls-files", "--error-unmatch", MARK) is not None


def code_revision(root: Path = Path()) -> str:
    """The commit of the code, marked where files differ from it; without git `sources-` and a digest of the modules."""
    describe = ("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
    found = _git(root, *describe) if has_git(root) else None
    return found or f"sources-{_digest(root)[:40]}"


def _git(root: Path, *words: str) -> str | None:
    """What git prints, or None where it fails or is not installed."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _digest(root: Path) -> str:
    files = sorted(file for package in PACKAGES for file in (root / package).rglob("*.py") if file.is_file())
    return sha256("\n".join(f"{sha256_file(file)} {file.relative_to(root).as_posix()}" for file in files).encode())
