"""Keys and secrets in the tree; `--miner` looks through git's history too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cascade.extras import command
from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import Context, check
from tasks.secret_scan.files import tracked_names
from tasks.secret_scan.known_kinds import new_leaks
from tasks.secret_scan.leak import Leak
from tasks.secret_scan.scan import Scanned, scan_tree

MARGIN = 1.0  # of the deadline, so that what was found is still said
SHOWN = 5
MORE_TIME = "--seconds 120"
MOVE = (
    "move it out of this folder; was it ever pushed, copied or put into an image, take a new key: "
    "`btcli wallet new_hotkey`, and for a coldkey move its funds first"
)


@check("wallets in the tree")
def wallets(context: Context) -> Iterator[Finding]:
    """Recovery phrases and private keys in any file, those that git ignores too."""
    yield scanned_finding(lambda: scan_tree(context.root, context.deadline - MARGIN), "of this folder", MOVE)


@check("secrets in the tree")
def secrets(context: Context) -> Iterator[Finding]:
    """Tokens, passwords and private keys in files that git has or would take."""
    try:
        found = new_leaks(context.root, tracked_names(context.root), context.deadline - MARGIN)
    except ModuleNotFoundError:
        yield not_asked("detect-secrets is not installed", f"`{command('train')}`")
        return
    except TimeoutError as late:
        yield warning(str(late), MORE_TIME)
        return
    if found:
        yield error(
            _names(found), "take it out and replace it where it is used; `python -m tasks.tools.secret_scan` says more"
        )
    else:
        yield ok("no token, password or private key in files that git has or would take")


def scanned_finding(scan: Callable[[], Scanned], where: str, remedy: str) -> Finding:
    """Make a finding of a scan for wallets."""
    try:
        scanned = scan()
    except ModuleNotFoundError:
        return not_asked("the package `mnemonic` is not installed", f"`{command('train')}`")
    if scanned.leaks:
        return error(_names(scanned.leaks), remedy)
    if not scanned.complete:
        return warning(f"nothing in the first {scanned.files} files {where}, then the time was over", MORE_TIME)
    return ok(f"no recovery phrase and no key of a wallet in {scanned.files} text files {where}")


def _names(leaks: Sequence[Leak]) -> str:
    more = f"; and {len(leaks) - SHOWN} more" if len(leaks) > SHOWN else ""
    return "; ".join(map(str, leaks[:SHOWN])) + more
