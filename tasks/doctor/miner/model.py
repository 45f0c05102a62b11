"""The model's age against the subnet's days, and its model_card.json."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tasks.config.clock import ClockParams, SubmissionParams
from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import Context, check
from tasks.doctor.successes import judge_model
from tasks.release.age import DAY_SECONDS, judge_age
from tasks.release.card.subnet import FILE, CardError, ModelCard, read_card, seconds_of
from tasks.release.promotion.doors import live_id
from tasks.release.promotion.gating import REPORTS

WRITE = "set submission.submitted_by; a promotion writes it, `streetvision card write` does at once"
AHEAD_DAYS = 0.05  # of clocks that differ


@check("model card", needs_params=True)
def card(context: Context) -> Iterator[Finding]:
    """The card that the champion's promotion wrote."""
    live = live_id()
    if live is None:
        yield not_asked("no release is champion yet", "`make run` builds and promotes one")
        return
    params = context.needed
    hotkey = context.miner.hotkey if context.miner and context.miner.hotkey else params.submission.submitted_by
    yield from card_findings(REPORTS / live / FILE, params.clock, params.submission, hotkey, time.time())


def card_findings(
    path: Path, clock: ClockParams, submission: SubmissionParams, hotkey: str | None, now: float
) -> Iterator[Finding]:
    """Check a card as the subnet's validators once did, and its age.

    Args:
        path: of model_card.json.
        clock: section `clock`.
        submission: section `submission`.
        hotkey: that it should be of; None: any.
        now: Unix time, seconds.
    """
    if not path.is_file():
        yield (error if submission.submitted_by else warning)(f"{path} is missing", WRITE)
        return
    try:
        found = read_card(path.read_bytes())
    except CardError as failure:
        yield error(str(failure), WRITE)
        return
    yield from _contents(found, submission, hotkey)
    days = (now - seconds_of(found.submission_time)) / DAY_SECONDS
    if days < -AHEAD_DAYS:
        yield error(
            f"the card's submission_time is {-days:.1f} days ahead of this machine's clock", "the check `clock`"
        )
    else:
        yield judge_model(judge_age(days, clock), f"by the card, submitted {found.submitted_at:%Y-%m-%d}")


def _contents(found: ModelCard, submission: SubmissionParams, hotkey: str | None) -> Iterator[Finding]:
    if hotkey and found.submitted_by != hotkey:
        yield error(f"the card is of hotkey {found.submitted_by}, and the miner's is {hotkey}", WRITE)
    else:
        yield ok(f"{FILE} is valid: {found.model_name} {found.version}, of {found.submitted_by}")
    if submission.repository is None:
        yield warning("submission.repository is not set: the registration names no model", "owner/name of the Hub")
