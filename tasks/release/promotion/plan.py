"""`--dry-run`: what a promotion or a rollback would do, with all checks that change nothing."""

from __future__ import annotations

from cascade.api.process import status
from cascade.release.store import RELEASES, Release, load_release
from tasks.config import Params
from tasks.release import ledger
from tasks.release.promotion import journal, preflight
from tasks.release.promotion.doors import Request, choose_target, is_recorded, live_id, live_release
from tasks.release.promotion.fronts import Front, choose_front, ready_service
from tasks.release.promotion.gating import pass_gate
from tasks.release.registry import read_aliases
from tasks.release.smoke_test import CHALLENGE


def plan_promotion(params: Params, release: Release, request: Request) -> list[str]:
    """Lines for people; raises what the promotion would raise before it changes anything."""
    lines: list[str] = _begin()
    front = choose_front(params, lines.append)
    champion = live_release(lines.append)
    evidence = pass_gate(params, release, champion, override=request.override, scheduled=False, record=False)
    lines.append(f"gate: {evidence.verdict} ({evidence.report})")
    if is_recorded(live_id(), release.id):
        return [*lines, f"release {release.id} is champion already: it would get its service and alias back"]
    preflight.check(params, front)
    read_aliases(params, release.id)
    wanted = params.promotion
    if front.splits and status() and wanted.shadow_seconds:
        lines.append(f"shadow: {wanted.shadow_seconds:g} s")
    if front.splits and status() and wanted.canary.steps:
        lines.append(f"canary: {', '.join(map(str, wanted.canary.steps))} %, {wanted.canary.seconds:g} s each")
    return [*lines, *_swap(params, front, release), f"watch: {wanted.watch.seconds:g} s", "nothing was changed"]


def plan_rollback(params: Params, wanted: str | None) -> list[str]:
    """Lines for people; raises what the rollback would raise before it changes anything."""
    lines: list[str] = _begin()
    front = choose_front(params, lines.append)
    release = load_release(RELEASES / choose_target(ledger.read(), wanted))
    preflight.check(params, front)
    return [*lines, *_swap(params, front, release), "nothing was changed"]


def _begin() -> list[str]:
    intent = journal.unfinished()
    return [f"first, the {intent.action} of {intent.new} that was cut off would be repaired"] if intent else []


def _swap(params: Params, front: Front, release: Release) -> list[str]:
    images = preflight.golden(params)
    warm, live = ready_service(release.id), status()
    lacking = None if warm else preflight.both_fit(params, release, live)
    start = "its service is warm: the switch alone" if warm else "a service is started beside the live one"
    if lacking:
        start = f"drain and swap: {lacking}; no service answers for some seconds"
    return [
        f"front: {front.name}",
        f"live: {live_id() or 'none'}; then: {release.id}",
        start if live or warm else "no service runs: one is started",
        f"golden images: {len(images)} of {CHALLENGE}",
    ]
