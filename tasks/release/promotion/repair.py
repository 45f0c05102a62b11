"""What a killed transaction left is put right by the next run: with its line in the ledger it is done, else undone."""

from __future__ import annotations

from collections.abc import Callable

from cascade.release.store import RELEASES, ReleaseError, point_champion
from tasks.config import Params
from tasks.release import ledger
from tasks.release.promotion import journal
from tasks.release.promotion.fronts import Front
from tasks.release.promotion.journal import Intent
from tasks.release.promotion.retire import end_strays
from tasks.release.registry import move_champion, restore_aliases
from tasks.release.tracking import RegisterError

Say = Callable[[str], object]


def repair(params: Params, front: Front, say: Say, *, strict: bool = True) -> None:
    """Put pointer, service, front and aliases where the ledger says, and stop stray services. Under the lock.

    Args:
        params: all of params.yaml.
        front: nginx or none.
        say: gets a line where there was something to repair.
        strict: raise where MLflow cannot be written to; a rollback goes on without it.

    Raises:
        RegisterError: as above; the rest is repaired, and the journal stays for the next run.
        ServiceError, FrontError: the release that should be live cannot be served.
    """
    intent = journal.unfinished()
    if intent is None:
        # of a transaction that was killed before its journal had a whole line: it changed nothing
        journal.close()
        end_strays()
        return
    done = is_done(intent)
    wanted = intent.new if done else intent.old
    say(f"{intent.action} of {intent.new} was cut off and is {'completed' if done else 'undone'}: live is {wanted}")
    point_champion(RELEASES, wanted)
    try:
        front.make_live(wanted)
    except ReleaseError as error:
        # no service of it is left, and its files are damaged: what follows must bring another release
        say(f"release {wanted} cannot be served: {error}")
    end_strays()
    try:
        if done:
            move_champion(params, intent.new)
        else:
            put_aliases_back(params, intent)
    except RegisterError as error:
        if strict:
            raise
        say(f"MLflow's aliases stay as they are: {error}")
    journal.close()


def is_done(intent: Intent) -> bool:
    """Whether the ledger has the line of a transaction."""
    return any(line.transaction == intent.transaction for line in ledger.read())


def put_aliases_back(params: Params, intent: Intent) -> None:
    """Put MLflow's aliases back as they were before a transaction.

    Raises:
        RegisterError: MLflow's store cannot be written to.
    """
    if intent.aliases is not None:
        restore_aliases(params, intent.aliases)
    elif intent.old is not None:
        # a rollback does not wait for MLflow before its switch, so nobody noted them
        move_champion(params, intent.old)
