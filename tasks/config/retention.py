"""Section `retention`: what `streetvision clean` leaves."""

from __future__ import annotations

from pydantic import Field

from cascade.config.base import Section


class RetentionParams(Section):
    """Section `retention`.

    Attributes:
        releases: the newest so many releases of the ledger stay, besides the live one, the one that a rollback goes to,
            those that run, and those that are younger than `days`.
        days: younger releases and files of private caches stay.
        after_retrain: whether a retrain ends with it.
    """

    releases: int = Field(default=5, ge=1)
    days: float = Field(default=30, ge=0)
    after_retrain: bool = True
