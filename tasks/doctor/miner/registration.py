"""Whether the hotkey is registered on the subnet, and what its permit means."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.doctor.finding import Finding, error, ok, warning
from tasks.doctor.miner.asking import asking
from tasks.doctor.miner.metagraph import Metagraph, hotkey_of, read_metagraph
from tasks.doctor.registry import Context, check
from tasks.release.card.subnet import is_ss58


@check("registration")
def registration(context: Context) -> Iterator[Finding]:
    """A miner that lost its uid to another goes on answering, and nobody asks."""
    with asking() as asked:
        hotkey = hotkey_of(context)
        if not is_ss58(hotkey):
            yield error(
                f"{hotkey[:60]} is no ss58 address", "`btcli wallet list` shows the hotkey's; never its mnemonic"
            )
            return
        yield from judge_registration(
            read_metagraph(context), hotkey, context.params.submission.uid if context.params else None
        )
    yield from asked.findings


def judge_registration(metagraph: Metagraph, hotkey: str, uid: int | None) -> Iterator[Finding]:
    """Look a hotkey up; `uid` is what params.yaml expects, None: nothing."""
    member = metagraph.find(hotkey)
    if member is None:
        yield error(
            f"hotkey {hotkey} is not among the {len(metagraph.hotkeys)} of the subnet",
            "`btcli subnet register --netuid 72`; a registration may be pending for some blocks",
        )
        return
    if uid is not None and uid != member.uid:
        yield warning(f"the metagraph has uid {member.uid}, submission.uid is {uid}", "set submission.uid")
    yield ok(f"registered as uid {member.uid}" + (f", stake {member.stake:g}" if member.stake is not None else ""))
    if member.permit:
        yield warning("the hotkey has a validator's permit", "nothing, if that is meant; a miner needs none")
    elif metagraph.validator_permit and not any(metagraph.validator_permit):
        yield error(
            "no hotkey of this metagraph has a validator's permit: nobody may ask", "check the netuid and network"
        )
    elif metagraph.validator_permit:
        yield ok(f"{sum(metagraph.validator_permit)} hotkeys have a validator's permit and may ask")
