"""Sections `clock` and `submission`: how long a model is good for, and what the subnet is told of it."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from cascade.config.base import Section

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


class ClockParams(Section):
    """Section `clock`: the subnet's README gives a model 90 days; its code checks none, so both are parameters.

    Attributes:
        valid_days: after the first promotion of a release; then it is expired.
        warn_days: ages in days at which a warning begins, each more urgent than the one before.
    """

    valid_days: float = Field(default=90, gt=0)
    warn_days: tuple[float, ...] = (45, 70, 75, 85)

    @model_validator(mode="after")
    def _days_grow(self) -> ClockParams:
        if list(self.warn_days) != sorted(set(self.warn_days)):
            raise ValueError("warn_days: ages in days, each larger than the one before")
        if self.warn_days and not (self.warn_days[0] > 0 and self.warn_days[-1] < self.valid_days):
            raise ValueError("warn_days: above 0 and below valid_days")
        return self


class SubmissionParams(Section):
    """Section `submission`: what model_card.json and the registration say. Nothing in it is secret.

    Attributes:
        submitted_by: ss58 address of the miner's hotkey; null: promotions write no card.
        repository: of the model on the Hub, as owner/name; null: the registration leaves it to be filled in.
        uid: of the miner on the subnet; null: not registered yet.
        version: X.Y.Z; null: that of the package.
        time_unit: of the card's submission_time; both are in use.
    """

    submitted_by: str | None = None
    repository: str | None = None
    uid: int | None = Field(default=None, ge=0)
    version: str | None = Field(default=None, pattern=r"^\d+\.\d+\.\d+$")
    time_unit: Literal["seconds", "milliseconds"] = "seconds"

    @field_validator("repository")
    @classmethod
    def _owner_and_name(cls, value: str | None) -> str | None:
        if value is not None and not REPOSITORY.fullmatch(value):
            raise ValueError("is no owner/name of the Hub")
        return value
