"""The files of a snapshot on the Hub, and which of them are on this machine already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.common.hub.snapshot import (
    METADATA,
    File,
    HubError,
    Listing,
    Snapshot,
    UnreachableError,
    cache_folder,
    chosen_names,
    token,
)

AGAIN = "run again to go on with the download"


def list_files(snapshot: Snapshot) -> Listing:
    """Request the list of files, and whether the Hub would hand them out.

    Raises:
        UnreachableError: it does not answer.
        HubError: it refuses: no such repository or revision, no access, or nothing in it that may be fetched.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token())
    with plain_words(snapshot):
        info = api.repo_info(snapshot.repo, repo_type=snapshot.kind, revision=snapshot.revision, files_metadata=True)
        if info.gated:
            api.auth_check(snapshot.repo, repo_type=snapshot.kind)
    there = {item.rfilename: item for item in info.siblings or []}
    wanted = chosen_names(snapshot, list(there))
    files = tuple(File(name, there[name].size or 0, there[name].lfs and there[name].lfs.sha256) for name in wanted)
    licence = getattr(info.card_data, "license", None)
    return Listing(files, licence if isinstance(licence, str) else None, bool(info.gated))


def missing(snapshot: Snapshot, listing: Listing) -> list[File]:
    """Files of a snapshot that are not on this machine yet."""
    if snapshot.folder is not None:
        folder = snapshot.folder
        return [file for file in listing.files if not _is_whole(folder, file, snapshot.revision)]
    from huggingface_hub import try_to_load_from_cache

    where = {"revision": snapshot.revision, "repo_type": snapshot.kind}
    found = {file: try_to_load_from_cache(snapshot.repo, file.name, **where) for file in listing.files}
    return [file for file, path in found.items() if not isinstance(path, str)]


def bytes_left(snapshot: Snapshot, listing: Listing) -> int:
    """Bytes of a snapshot that are still to come, without those that an earlier run has brought."""
    return sum(max(0, file.size - _brought(snapshot, file)) for file in missing(snapshot, listing))


def download_paths(snapshot: Snapshot, file: File, digest: str) -> tuple[Path, Path]:
    """Where a large file goes, and where it lies until it is whole.

    `snapshot_download` takes a blob of the cache by its digest, and hashes a file in a folder that it has no note of.
    """
    folder = snapshot.folder
    target = folder / file.name if folder else cache_folder(snapshot) / "blobs" / digest
    return target, (folder / METADATA if folder else target.parent) / f"{digest}.streetvision.incomplete"


@contextmanager
def plain_words(snapshot: Snapshot) -> Iterator[None]:
    """Turn what huggingface_hub raises into one message each, without headers or tokens."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        hint = "then set HF_TOKEN to a token of that account" if not token() else "with the account of your HF_TOKEN"
        what = f"{snapshot.repo} ({snapshot.stage})" if snapshot.stage else snapshot.repo
        raise HubError(f"{what} is gated: request access at {snapshot.page}, {hint}") from None
    except errors.RevisionNotFoundError:
        key = f" ({snapshot.key})" if snapshot.key else ""
        raise HubError(f"{snapshot.name}: the Hub has no such revision{key}") from None
    except errors.RepositoryNotFoundError:
        text = "the Hub has no such repository, or it is private and HF_TOKEN has no access"
        raise HubError(f"{snapshot.name}: {text}") from None
    except errors.OfflineModeIsEnabled:
        text = "no request is made, since HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
        raise UnreachableError(f"{snapshot.name}: {text}") from None
    except HubError:
        raise
    except Exception as error:
        raise _unexpected(snapshot, error) from None


def _unexpected(snapshot: Snapshot, error: Any) -> HubError:
    first_line = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, OSError) and error.errno is not None:
        return HubError(f"{snapshot.name}: {first_line}; {AGAIN}")
    return UnreachableError(f"{snapshot.name}: the Hub does not answer: {first_line}; {AGAIN}")


def _brought(snapshot: Snapshot, file: File) -> int:
    """Bytes of a file that an earlier run has brought."""
    if not file.sha256:
        return 0
    paths = download_paths(snapshot, file, file.sha256)
    return next((path.stat().st_size for path in paths if path.is_file()), 0)


def _is_whole(folder: Path, file: File, revision: str) -> bool:
    """Whether huggingface_hub has noted the file as whole, of this revision."""
    path, note = folder / file.name, folder / METADATA / f"{file.name}.metadata"
    if not path.is_file() or path.stat().st_size != file.size or not note.is_file():
        return False
    return note.read_text(encoding="utf-8").split("\n", 1)[0] == revision
