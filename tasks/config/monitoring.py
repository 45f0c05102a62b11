"""Section `monitoring`: how old a release may get, and when the traffic counts as another one."""

from __future__ import annotations

from pydantic import Field, model_validator

from cascade.config.base import Section

# 5 and 5 blocks can be divided in 252 ways
BLOCKS = 5


class DriftParams(Section):
    """Section `monitoring.drift`: the newest pictures of the random slice against the first that the release answered.

    Attributes:
        reference: pictures that the release answered first; they stay.
        window: the newest pictures, which are compared with them.
        permutations: of both groups, for the p-values.
        block: neighbours in the order of arrival that are permuted together, since they show the same streets.
        level: chance of a breach in a run without any drift, for all signals together.
        breaches: runs in a row with a breach, before a retrain is requested.
        shown: pictures of the report that moved most.
    """

    reference: int = Field(default=300, ge=20)
    window: int = Field(default=200, ge=20)
    permutations: int = Field(default=999, ge=99)
    block: int = Field(default=10, ge=1)
    level: float = Field(default=0.01, gt=0, lt=0.5)
    breaches: int = Field(default=2, ge=1)
    shown: int = Field(default=24, ge=0)

    @model_validator(mode="after")
    def _a_breach_is_possible(self) -> DriftParams:
        # the least p-value of a permutation test is 1 / (permutations + 1), and three signals share the level
        if 3 / (self.permutations + 1) > self.level:
            raise ValueError("permutations: too few for the level; at least 3 / level")
        if min(self.reference, self.window) < BLOCKS * self.block:
            raise ValueError(f"block: reference and window must hold {BLOCKS} of them, or no p-value gets small")
        return self


class MonitoringParams(Section):
    """Section `monitoring`.

    Attributes:
        retrain_days: after which a newer release must be live.
        min_labelled: reviewed pictures of a share, before there are accuracy and reward.
    """

    retrain_days: float = Field(default=90, gt=0)
    min_labelled: int = Field(default=30, ge=1)
    drift: DriftParams = DriftParams()
