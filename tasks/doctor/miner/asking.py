"""What the checks that ask the chain have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tasks.doctor.finding import Finding, error, not_asked
from tasks.doctor.miner.metagraph import MetagraphError, NotAskedError


@dataclass
class Asked:
    """Findings of a check that could not ask; empty where it could."""

    findings: list[Finding] = field(default_factory=list)


@contextmanager
def asking() -> Iterator[Asked]:
    """Turn the errors of `read_metagraph` and `hotkey_of` into findings."""
    asked = Asked()
    try:
        yield asked
    except NotAskedError as reason:
        sentence, _, remedy = str(reason).partition("; ")
        asked.findings.append(not_asked(sentence, remedy))
    except MetagraphError as reason:
        asked.findings.append(
            error(str(reason), "correct the file or the address; docs/mining-the-subnet.md has its form")
        )
