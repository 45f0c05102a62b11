"""Which stages hold up a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.dvc.graph import DvcStage, Pipeline


def pipeline(**parents: tuple[str, ...]) -> Pipeline:
    """Stages by name, parents before children."""
    return Pipeline(Path(), {name: DvcStage(name, above, (), ()) for name, above in parents.items()})


@pytest.mark.parametrize(
    ("given", "other"),
    [
        # a chain is critical as a whole, a short branch beside it is not
        (pipeline(pull=(), detect=("pull",), embed=("pull",), train=("embed",), worth=("detect", "train")), "detect"),
        # a longer way into a stage counts, not the shorter one
        (pipeline(a=(), b=("a",), side=(), c=("b", "side")), "side"),
        # an end that comes early holds up nothing
        (pipeline(a=(), b=("a",), validate=("a",), c=("b",)), "validate"),
    ],
)
def test_all_but_one_are_on_the_longest_chain(given: Pipeline, other: str) -> None:
    assert given.critical() == set(given.stages) - {other}


def test_equal_chains_are_all_critical() -> None:
    given = pipeline(source=(), left=("source",), right=("source",), join=("left", "right"))
    assert given.critical() == set(given.stages)
