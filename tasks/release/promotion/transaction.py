"""A list of steps with their undo: all are done, or none is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.release.promotion.journal import Journal


def nothing() -> None:
    """The undo of a step that changes nothing."""


@dataclass(frozen=True)
class Step:
    """One step. `undo` puts back what `do` changed, also where `do` failed half-way or did nothing yet."""

    name: str
    do: Callable[[], object]
    undo: Callable[[], object] = nothing


def run_steps(
    steps: Sequence[Step],
    journal: Journal,
    say: Callable[[str], object],
    is_committed: Callable[[], bool] = lambda: False,
) -> None:
    """Do all steps; a failure undoes those that were begun, the last one first, and is raised again.

    The journal is closed when all is undone. An undo that fails is noted on the error, the others are tried all the
    same, and the journal stays open, so that the next run repairs what is left. The last step commits: after it nothing
    is undone.

    Args:
        steps: in their order.
        journal: of this transaction.
        say: gets the name of each step.
        is_committed: asked where a step fails: whether the last one has done its work all the same.
    """
    begun: list[Step] = []
    try:
        for step in steps:
            journal.note(step.name, "begin")
            say(step.name)
            begun.append(step)
            step.do()
            if step is not steps[-1]:
                journal.note(step.name, "done")
    except BaseException as error:
        if is_committed():
            # the journal stays open, and the next run completes what is left
            raise
        say(f"{type(error).__name__} in step {begun[-1].name if begun else 'begin'}: all is put back")
        if _undo(begun, journal, error):
            journal.close()
        raise
    journal.note_if_possible(steps[-1].name, "done")


def _undo(begun: Sequence[Step], journal: Journal, error: BaseException) -> bool:
    whole = True
    for step in reversed(begun):
        if step.undo is nothing:
            continue
        try:
            journal.note_if_possible(step.name, "undo")
            step.undo()
        except Exception as another:
            whole = False
            error.add_note(f"undo of step {step.name} failed ({another}); the next run repairs it")
    return whole
