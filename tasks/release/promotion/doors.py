"""The doors to a change of the live release: promotion and rollback, and what each would do (`--dry-run`)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.api.process import ServiceState, status
from cascade.release.store import CHAMPION, RELEASES, Release, ReleaseError, champion, load_release
from tasks.common.user import user_name
from tasks.config import Params
from tasks.release import ledger
from tasks.release.card.submission import write_submission
from tasks.release.card.subnet import CardError
from tasks.release.gate import remember_fixed
from tasks.release.ledger import Promotion
from tasks.release.promotion import journal, preflight, retire
from tasks.release.promotion.fronts import Front, choose_front, ready_service
from tasks.release.promotion.gating import REPORTS, pass_gate
from tasks.release.promotion.journal import Intent, Journal
from tasks.release.promotion.lock import release_lock
from tasks.release.promotion.repair import is_done, repair
from tasks.release.promotion.swap import Swap
from tasks.release.promotion.transaction import run_steps
from tasks.release.registry import move_champion, read_aliases
from tasks.release.smoke_test import CHALLENGE, GoldenImage
from tasks.release.tracking import RegisterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.release.promotion.gating import GateEvidence

Say = Callable[[str], object]


class RollbackError(ValueError):
    """There is no release to go back to, or the one that was named was never live."""


@dataclass(frozen=True)
class Request:
    """Who wants what.

    Attributes:
        why: for the ledger.
        who: the user by default.
        run: id of the flow run.
        override: a person's reason to promote after an inconclusive comparison.
        scheduled: no person asks.
        tree: folder in which the stages ran: its challenge set and hard cases test the release.
    """

    why: str
    who: str | None = None
    run: str | None = None
    override: str | None = None
    scheduled: bool = False
    tree: Path = Path()


@contextmanager
def door(params: Params, what: str, say: Say, *, strict: bool = True) -> Iterator[Front]:
    """Hold the lock, and begin with what a killed run left: repaired.

    Raises:
        LockedError: another run holds the lock for too long.
        RegisterError, ServiceError, FrontError, ReleaseError: what is left cannot be repaired.
    """
    with release_lock(what, say, params.promotion.lock_seconds):
        front = choose_front(params, say)
        repair(params, front, say, strict=strict)
        yield front


def promote_release(params: Params, front: Front, release: Release, request: Request, say: Say) -> ServiceState:
    """Ask the gate, then put a release into the place of the champion. Call it inside `door`.

    A release that is champion already only gets its service back, and no line in the ledger.

    Args:
        params: all of params.yaml.
        front: nginx or none.
        release: verified; no file of it is read again here.
        request: who wants it, and why.
        say: gets lines for people.

    Raises:
        GateError: the gate refuses the release.
        PreflightError: no disk space, or no images to test it with; nothing was changed.
        RegisterError, ServiceError, FrontError, WatchError, SmokeTestError: all is put back.
    """
    old = live_id()
    evidence = pass_gate(
        params,
        release,
        live_release(say),
        override=request.override,
        scheduled=request.scheduled,
        tree=request.tree,
    )
    if is_recorded(old, release.id):
        return _restore(params, front, release, say)
    preflight.check(params, front)
    aliases = read_aliases(params, release.id)
    line = _line("promote", release, _replaced(old, release.id), request, front, evidence)
    images = preflight.golden(params, request.tree / CHALLENGE)
    service = _exchange(params, front, release, old, line, aliases, images, say)
    _tell_the_subnet(params, release, say)
    must_pass = request.tree / params.gate.must_pass.file
    if fixed := remember_fixed(evidence.read(), must_pass):
        say(f"{fixed} hard cases are answered right now, which no later release may lose: {must_pass}")
    return service


def rollback_release(params: Params, front: Front, wanted: str | None, request: Request, say: Say) -> ServiceState:
    """Go back to a release that was live before; the gate, canary and shadow do not apply. Call it inside `door`.

    MLflow's aliases follow where MLflow can be written to; the next run moves them where it cannot.

    Raises:
        RollbackError: there is nothing to go back to.
        ReleaseError: the release is altered or incomplete.
        PreflightError, ServiceError, FrontError, WatchError, SmokeTestError: all is put back.
    """
    lines, old = ledger.read(), live_id()
    release_id = choose_target(lines, wanted)
    # a service that is warm has verified the files that it answers from
    release = load_release(RELEASES / release_id, digests=ready_service(release_id) is None)
    preflight.check(params, None)
    line = _line("rollback", release, _replaced(old, release.id), request, front, None)
    return _exchange(params, front, release, old, line, None, preflight.golden(params), say)


def choose_target(lines: list[Promotion], wanted: str | None) -> str:
    """The release that a rollback goes to.

    Raises:
        RollbackError: there is none, it is live already, or it was never live.
    """
    target, known = wanted or ledger.rollback_target(lines), {line.release for line in lines}
    if target is None:
        raise RollbackError("the ledger names no release to go back to; `streetvision releases` lists them")
    if lines and target == lines[-1].release:
        raise RollbackError(f"release {target} is live already")
    if target not in known | {line.previous for line in lines}:
        raise RollbackError(f"release {target} was never live; `streetvision releases` lists those that were")
    return target


def live_id() -> str | None:
    """The release that the pointer names, be it sound or not."""
    link = RELEASES / CHAMPION
    return link.readlink().name if link.is_symlink() else None


def live_release(say: Say) -> Release | None:
    """The champion, its files checked by size; None where there is none, or it cannot be read any more."""
    try:
        return champion(RELEASES, digests=False)
    except ReleaseError as error:
        # of an older version, or damaged: its service may run all the same, and a new one must be able to replace it
        say(f"the live release cannot be compared: {error}")
        return None


def is_recorded(live: str | None, release_id: str) -> bool:
    """Whether a release is champion and the ledger's last line says so: nothing of its promotion is left to do."""
    lines = ledger.read()
    named = bool(lines) and lines[-1].release == release_id
    return live == release_id and named and journal.unfinished() is None


def _exchange(
    params: Params,
    front: Front,
    new: Release,
    old: str | None,
    line: Promotion,
    aliases: dict[str, str] | None,
    images: list[GoldenImage],
    say: Say,
) -> ServiceState:
    live = status()
    lacking = None if ready_service(new.id) else preflight.both_fit(params, new, live)
    if lacking:
        say(f"drain and swap: {lacking}; no service answers for some seconds")
        line = line.model_copy(update={"front": f"{line.front}, drain"})
    intent = Intent(
        transaction=line.transaction or "",
        action="rollback" if line.action == "rollback" else "promote",
        old=old,
        new=new.id,
        when=line.when,
        aliases=aliases,
    )
    swap = Swap(params, front, new, old, intent, line, images, bool(lacking), say, strict=line.action == "promote")
    written = Journal(intent)
    run_steps(swap.steps(), written, say, lambda: is_done(intent))
    _finish(params, front, swap, say)
    written.close()
    return swap.green or _lost(new.id)


def _finish(params: Params, front: Front, swap: Swap, say: Say) -> None:
    """The old service's end. The promotion is done: what fails here is said, and put right by the next run."""
    try:
        retire.keep(swap.new.id)
        if swap.green:
            front.drop_reserve(swap.green)
        blue = swap.blue
        if blue and blue.process() and (swap.green is None or blue.pid != swap.green.pid):
            retire.retire(blue, params.promotion.keep_blue_seconds)
    except (OSError, RuntimeError) as error:
        say(f"release {swap.new.id} is live; the old service may still run: {error}")


def _restore(params: Params, front: Front, release: Release, say: Say) -> ServiceState:
    """Give the champion its service and alias back, where somebody took them."""
    service = front.make_live(release.id) or _lost(release.id)
    try:
        move_champion(params, release.id)
    except RegisterError as error:
        say(f"MLflow's alias `champion` stays as it is: {error}")
    return service


def _tell_the_subnet(params: Params, release: Release, say: Say) -> None:
    """Write the model card and the registration; the promotion is done, and no card takes it back."""
    try:
        for path in write_submission(REPORTS / release.id, release, params.submission, time.time()):
            say(f"for the subnet: {path}")
    except (CardError, OSError) as error:
        say(f"no model card is written: {error}; `streetvision card write` writes it")


def _lost(release_id: str) -> ServiceState:
    raise RuntimeError(f"release {release_id} was put live, and no service is noted")


def _replaced(old: str | None, release_id: str) -> str | None:
    """The release that loses its place; where the ledger lost its last line, the pointer names the new one already."""
    if old is not None and old != release_id:
        return old
    lines = ledger.read()
    return lines[-1].release if lines else None


def _line(
    action: str, release: Release, previous: str | None, request: Request, front: Front, gate: GateEvidence | None
) -> Promotion:
    target = ledger.target_before(ledger.read(), release.id) if action == "rollback" else previous
    return Promotion(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        who=request.who or user_name(),
        why=request.why,
        release=release.id,
        previous=previous,
        run=request.run,
        action=action,
        transaction=secrets.token_hex(8),
        front=front.name,
        gate=gate.__dict__ if gate else None,
        git=release.manifest.revision.get("code"),
        dvc=release.manifest.revision.get("data"),
        target=target,
    )
