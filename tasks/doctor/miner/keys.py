"""The commonest accident of miners: a wallet's phrase or key in a repository. And what else the doctor shares here."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.doctor.clock import judge_clock, read_clock
from tasks.doctor.finding import Finding, not_asked
from tasks.doctor.registry import Context, check
from tasks.doctor.secrets import MARGIN, scanned_finding, wallets
from tasks.secret_scan.history import NoHistoryError
from tasks.secret_scan.scan import scan_history

NEW_KEY = (
    "a key that was pushed is lost: move the coldkey's funds, take a new hotkey and register it; then take the file "
    "out of history with git-filter-repo, and have every clone and fork made anew"
)


@check("wallet keys in files")
def tree(context: Context) -> Iterator[Finding]:
    """All files of this folder, those that git ignores too."""
    return wallets(context)


@check("wallet keys in history")
def history(context: Context) -> Iterator[Finding]:
    """All that git's branches, tags and stashes reach."""
    try:
        yield scanned_finding(
            lambda: scan_history(context.root, context.deadline - MARGIN), "of git's history", NEW_KEY
        )
    except NoHistoryError as reason:
        yield not_asked(str(reason))


@check("miner's clock")
def miner_clock(context: Context) -> Iterator[Finding]:
    """An axon refuses requests whose time is off, and so do validators."""
    yield judge_clock(read_clock())
