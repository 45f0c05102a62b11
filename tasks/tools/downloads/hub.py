"""The Hub: what a snapshot consists of, and fetching it so that a kill loses nothing.

`huggingface_hub` (2.4) goes on within one process, and keeps files that are whole, but throws half a file away when it
is interrupted (`_download_to_tmp_and_move`). So large files, those with a digest (LFS), are fetched here: with HTTP
ranges into a file that stays, checked against their sha256, and laid where `snapshot_download` then finds them; it
fetches the small ones and keeps the books.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.common.files import sha256_file
from tasks.tools.downloads.catalogue import Need, page
from tasks.tools.downloads.places import folder_of

# a pickle, or a repository's own code, runs when it is loaded: neither is ever fetched
SAFE = (".safetensors", ".json", ".jinja", ".txt", ".model", ".parquet")
METADATA = Path(".cache/huggingface/download")


class HubError(RuntimeError):
    """The Hub refuses or does not answer; the message says what to do."""


class Unreachable(HubError):
    """The Hub does not answer, or offline mode is on."""


@dataclass(frozen=True)
class File:
    """One file of a snapshot; `size` in bytes, `sha256` of the large ones alone."""

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Listing:
    """What the Hub says of a snapshot: the files that are wanted of it, and the licence on its card."""

    files: tuple[File, ...]
    licence: str | None
    gated: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


def look(need: Need) -> Listing:
    """Ask the Hub, and whether it would hand the files out.

    Raises:
        Unreachable: it does not answer.
        HubError: it refuses: no such repository or revision, no access, or nothing in it that may be fetched.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token())
    with _plain_words(need):
        info = api.repo_info(need.repo, repo_type=need.kind, revision=need.revision, files_metadata=True)
        if info.gated:
            api.auth_check(need.repo, repo_type=need.kind)
    there = {item.rfilename: item for item in info.siblings or []}
    wanted = choose(need, list(there))
    files = tuple(File(name, there[name].size or 0, there[name].lfs and there[name].lfs.sha256) for name in wanted)
    licence = getattr(info.card_data, "license", None)
    return Listing(files, licence if isinstance(licence, str) else None, bool(info.gated))


def choose(need: Need, names: Sequence[str]) -> list[str]:
    """The files of a repository that are fetched.

    Raises:
        HubError: there are none, or a diffusers pipeline lacks some.
    """
    from tasks.data.schema import DataError
    from tasks.synthesis.hub import choose_files

    if need.place == "diffusers":
        try:
            chosen = choose_files(list(names), list(need.patterns) or None)
        except DataError as error:
            raise HubError(f"{need.repo}@{need.revision}: {error}") from None
    else:
        chosen = [name for name in names if any(fnmatch(name, pattern) for pattern in need.patterns)]
    chosen = sorted(name for name in chosen if PurePosixPath(name).suffix in SAFE and _inside(name))
    weights = ".parquet" if need.kind == "dataset" else ".safetensors"
    if not any(name.endswith(weights) for name in chosen):
        raise HubError(f"{need.repo}@{need.revision}: holds no {weights} file; other formats are not fetched")
    return chosen


def missing(need: Need, listing: Listing) -> list[File]:
    """Files of a snapshot that its step would not find yet."""
    folder = folder_of(need)
    if folder is None:
        from huggingface_hub import try_to_load_from_cache

        where = {"revision": need.revision, "repo_type": need.kind}
        return [
            file for file in listing.files if not isinstance(try_to_load_from_cache(need.repo, file.name, **where), str)
        ]
    return [file for file in listing.files if not _is_there(folder, file, need.revision)]


def left(need: Need, listing: Listing) -> int:
    """Bytes of a snapshot that are still to come, without those that an earlier run has brought."""
    return sum(max(0, file.size - _brought(need, file)) for file in missing(need, listing))


def fetch(need: Need, listing: Listing) -> None:
    """Bring a snapshot to its place; what an earlier run left half done is gone on with.

    Raises:
        HubError: as `look`, or a file is not what its digest says.
    """
    from huggingface_hub import snapshot_download

    with _plain_words(need):
        for file in missing(need, listing):
            if file.sha256:
                _fetch_large(need, file, file.sha256)
        snapshot_download(
            need.repo,
            repo_type=need.kind,
            revision=need.revision,
            local_dir=folder_of(need),
            allow_patterns=[file.name for file in listing.files],
            token=token(),
        )


def token() -> str | bool:
    """HF_TOKEN of the environment, and no other; False: none is sent."""
    return os.environ.get("HF_TOKEN") or False


def cache_folder(need: Need) -> Path:
    """The Hub's cache of a repository."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / str(repo_folder_name(repo_id=need.repo, repo_type=need.kind))


def _fetch_large(need: Need, file: File, digest: str) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    target, partial = _paths(need, file, digest)
    if target.is_file() and sha256_file(target) == digest:
        return
    for path in (target, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("ab") as stream:
        if stream.tell() > file.size:
            stream.truncate(0)
        http_get(
            hf_hub_url(need.repo, file.name, repo_type=need.kind, revision=need.revision),
            stream,
            resume_size=stream.tell(),
            headers=build_hf_headers(token=token()),
            expected_size=file.size,
            displayed_filename=f"{need.repo}/{file.name}",
        )
    if sha256_file(partial) != digest:
        partial.unlink()
        raise HubError(
            f"{need.repo}/{file.name}: what came is not what the Hub's digest says; run again to fetch it anew"
        )
    partial.replace(target)


def _paths(need: Need, file: File, digest: str) -> tuple[Path, Path]:
    """Where a large file goes, and where it lies until it is whole.

    `snapshot_download` takes a blob of the cache by its digest, and hashes a file in a folder that it has no note of.
    """
    folder = folder_of(need)
    target = folder / file.name if folder else cache_folder(need) / "blobs" / digest
    return target, (folder / METADATA if folder else target.parent) / f"{digest}.streetvision.incomplete"


def _brought(need: Need, file: File) -> int:
    if not file.sha256:
        return 0
    return next((path.stat().st_size for path in _paths(need, file, file.sha256) if path.is_file()), 0)


def _is_there(folder: Path, file: File, revision: str) -> bool:
    """Whether huggingface_hub has noted the file as whole, of this revision."""
    path, note = folder / file.name, folder / METADATA / f"{file.name}.metadata"
    if not path.is_file() or path.stat().st_size != file.size or not note.is_file():
        return False
    return note.read_text(encoding="utf-8").split("\n", 1)[0] == revision


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


@contextmanager
def _plain_words(need: Need) -> Iterator[None]:
    """Turn what huggingface_hub raises into one message each, without headers or tokens."""
    from huggingface_hub import errors

    what = f"{need.repo}@{need.revision[:12]}"
    try:
        yield
    except errors.GatedRepoError:
        hint = "then set HF_TOKEN to a token of that account" if not token() else "with the account of your HF_TOKEN"
        raise HubError(f"{need.repo} ({need.stage}) is gated: ask for access at {page(need)}, {hint}") from None
    except errors.RevisionNotFoundError:
        raise HubError(f"{what}: the Hub has no such revision ({need.key})") from None
    except errors.RepositoryNotFoundError:
        raise HubError(f"{what}: the Hub has no such repository, or it is private and HF_TOKEN has no access") from None
    except errors.OfflineModeIsEnabled:
        raise Unreachable(
            f"{what}: the Hub is not asked, since HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
        ) from None
    except HubError:
        raise
    except Exception as error:
        raise _unexpected(what, error) from None


def _unexpected(what: str, error: Any) -> HubError:
    said = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, OSError) and error.errno is not None:
        return HubError(f"{what}: {said}; run again to go on with the download")
    return Unreachable(f"{what}: the Hub does not answer: {said}; run again to go on with the download")
