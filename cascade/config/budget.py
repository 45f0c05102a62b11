"""Section `budget`: memory, time limits and cache of the cascade."""

from __future__ import annotations

from cascade.config.base import Section


class BudgetParams(Section):
    """Section `budget`: memory, time limits and cache of the cascade."""
