"""Snapshots of the Hugging Face Hub: what they consist of, and fetching them so that a kill loses nothing."""

from tasks.common.hub.fetch import fetch, fetch_snapshot
from tasks.common.hub.listing import bytes_left, list_files, missing
from tasks.common.hub.snapshot import File, HubError, Listing, Snapshot, UnreachableError

__all__ = [
    "File", "HubError", "Listing", "Snapshot", "UnreachableError", "bytes_left", "fetch", "fetch_snapshot",
    "list_files", "missing",
]  # fmt: skip
