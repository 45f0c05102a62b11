"""Fetch a snapshot so that a kill loses nothing.

`huggingface_hub` (2.4) goes on within one process, and keeps files that are whole, but throws half a file away when it
is interrupted (`_download_to_tmp_and_move`). So large files, those with a digest (LFS), are fetched here: with HTTP
ranges into a file that stays, checked against their sha256, and laid where `snapshot_download` then finds them; it
fetches the small ones and keeps the books.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tasks.common.files import sha256_file
from tasks.common.hub.listing import bytes_left, download_paths, list_files, missing, plain_words
from tasks.common.hub.snapshot import File, HubError, Listing, Snapshot, UnreachableError, cache_folder, token

SPARE_BYTES = 1 << 30
GIB = 1 << 30


def fetch_snapshot(snapshot: Snapshot, *, copied: bool = False) -> Path:
    """Bring what is missing of a snapshot; where the Hub does not answer, what is there already is taken.

    Args:
        snapshot: what is wanted.
        copied: the files are copied afterwards, so that they lie on the disk twice for a moment.

    Returns:
        The folder of the files.

    Raises:
        HubError: the Hub refuses, or does not answer and nothing is there; or the disk is too small.
    """
    try:
        listing = list_files(snapshot)
    except UnreachableError as error:
        return _local(snapshot, error)
    check_space(snapshot, bytes_left(snapshot, listing) + (listing.size if copied else 0))
    return fetch(snapshot, listing)


def fetch(snapshot: Snapshot, listing: Listing) -> Path:
    """Bring a snapshot to its place; what an earlier run left half done is gone on with.

    Returns:
        The folder of the files.

    Raises:
        HubError: as `list_files`, or a file is not what its digest says.
    """
    from huggingface_hub import snapshot_download

    with plain_words(snapshot):
        for file in missing(snapshot, listing):
            if file.sha256:
                _fetch_large(snapshot, file, file.sha256)
        folder = snapshot_download(
            snapshot.repo,
            repo_type=snapshot.kind,
            revision=snapshot.revision,
            local_dir=snapshot.folder,
            allow_patterns=[file.name for file in listing.files],
            token=token(),
        )
    return Path(folder)


def check_space(snapshot: Snapshot, needed: int) -> None:
    """Refuse a download that would fill the disk.

    Raises:
        HubError: says how much is needed and how much there is.
    """
    folder = snapshot.folder or cache_folder(snapshot)
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed + SPARE_BYTES:
        raise HubError(
            f"{snapshot.name}: {needed / GIB:.1f} GiB and 1 GiB to spare are needed in {folder}, "
            f"{free / GIB:.1f} GiB are free"
        )


def local_folder(snapshot: Snapshot) -> Path | None:
    """The folder of a snapshot as it is on this machine, without a request to the Hub; None where there is none."""
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            snapshot.repo,
            repo_type=snapshot.kind,
            revision=snapshot.revision,
            local_dir=snapshot.folder,
            # without them huggingface_hub misses the files of the repository that nobody wants
            allow_patterns=list(snapshot.patterns) or None,
            local_files_only=True,
        )
    except (OSError, ValueError):
        return None
    return Path(found)


def _local(snapshot: Snapshot, error: UnreachableError) -> Path:
    folder = local_folder(snapshot)
    if folder is None:
        raise error
    return folder


def _fetch_large(snapshot: Snapshot, file: File, digest: str) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    target, partial = download_paths(snapshot, file, digest)
    if target.is_file() and sha256_file(target) == digest:
        return
    for path in (target, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("ab") as stream:
        if stream.tell() > file.size:
            stream.truncate(0)
        http_get(
            hf_hub_url(snapshot.repo, file.name, repo_type=snapshot.kind, revision=snapshot.revision),
            stream,
            resume_size=stream.tell(),
            headers=build_hf_headers(token=token()),
            expected_size=file.size,
            displayed_filename=f"{snapshot.repo}/{file.name}",
        )
    if sha256_file(partial) != digest:
        partial.unlink()
        text = "what came is not what the Hub's digest says; run again to fetch it anew"
        raise HubError(f"{snapshot.repo}/{file.name}: {text}")
    # renamed, not copied: a file of many GB is on the disk already
    partial.replace(target)
