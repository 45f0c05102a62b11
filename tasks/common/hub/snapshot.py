"""What a snapshot is: a repository at a commit, the files that are wanted of it, and where they go."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Literal

# a pickle, or a repository's own code, runs when it is loaded: neither is ever fetched
SAFE = (".safetensors", ".json", ".jinja", ".txt", ".model", ".parquet")
METADATA = Path(".cache/huggingface/download")
Chooser = Callable[[list[str]], list[str]]


class HubError(ValueError):
    """The Hub refuses or does not answer, or the disk is too small; the message says what to do."""


class UnreachableError(HubError):
    """The Hub does not answer, or offline mode is on."""


@dataclass(frozen=True)
class Snapshot:
    """Files of a repository at a commit.

    Attributes:
        repo: owner and name.
        revision: commit, 40 hex digits.
        kind: of repository.
        folder: where the files go; None: the Hub's own cache.
        patterns: of the names that are wanted.
        chooser: chooses among all names where patterns cannot; raises ValueError where what is needed is not there.
        key: of params.yaml, where the revision is set, for messages.
        stage: that needs it, for messages.
    """

    repo: str
    revision: str
    kind: Literal["model", "dataset"] = "model"
    folder: Path | None = None
    patterns: tuple[str, ...] = ()
    chooser: Chooser | None = None
    key: str = ""
    stage: str = ""

    @property
    def name(self) -> str:
        """Repository and commit in short, for messages."""
        return f"{self.repo}@{self.revision[:12]}"

    @property
    def page(self) -> str:
        """Where a person reads about the repository."""
        kind = "datasets/" if self.kind == "dataset" else ""
        return f"https://huggingface.co/{kind}{self.repo}"


@dataclass(frozen=True)
class File:
    """One file of a snapshot; `size` in bytes, `sha256` of the large ones (LFS) alone."""

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Listing:
    """The files that are wanted of a snapshot, and the licence on its card."""

    files: tuple[File, ...]
    licence: str | None
    gated: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


def chosen_names(snapshot: Snapshot, names: Sequence[str]) -> list[str]:
    """The files of a repository that are fetched, in order.

    Raises:
        HubError: there are no weights or tables among them, or the chooser misses some.
    """
    if snapshot.chooser is not None:
        try:
            chosen = snapshot.chooser(list(names))
        except ValueError as error:
            raise HubError(f"{snapshot.name}: {error}") from None
    else:
        chosen = [name for name in names if any(fnmatch(name, pattern) for pattern in snapshot.patterns)]
    chosen = sorted(name for name in chosen if PurePosixPath(name).suffix in SAFE and _is_inside(name))
    needed = ".parquet" if snapshot.kind == "dataset" else ".safetensors"
    if not any(name.endswith(needed) for name in chosen):
        raise HubError(f"{snapshot.name}: holds no {needed} file; other formats are not fetched")
    return chosen


def cache_folder(snapshot: Snapshot) -> Path:
    """The folder of the repository in the Hub's own cache."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / str(repo_folder_name(repo_id=snapshot.repo, repo_type=snapshot.kind))


def token() -> str | bool:
    """HF_TOKEN of the environment, and no other; False: none is sent."""
    return os.environ.get("HF_TOKEN") or False


def _is_inside(name: str) -> bool:
    """Whether a name stays below the folder that it is put into."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
