"""One seam for both engines: items go in, their results come out in the order of the items.

A worker is made once a process and is given one item after the other, so that its model is loaded once. What it does
with an item must depend on nothing but the item and what it was made with: then both engines give the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from tasks.config.scale import ScaleParams

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Item], Iterator[Result]]
Make = Callable[[], AbstractContextManager[Work[Item, Result]]]


def run_items(params: ScaleParams, make: Make[Item, Result], items: Sequence[Item]) -> Iterator[Result]:
    """Work on items, and give the results of each as they come, in the order of the items.

    Args:
        params: section `scale`.
        make: opens a worker; pickled for Ray, so a class or a `functools.partial` of one.
        items: small descriptions of what a worker reads by itself.

    Raises:
        MissingExtraError: Ray is not installed.
        ScaleError: the cluster cannot be reached, or has no room for one actor.
        Exception: what a worker raises.
    """
    if params.engine == "ray":
        from tasks.scale.on_ray import run_on_ray

        yield from run_on_ray(params, make, items)
        return
    with make() as work:
        for item in items:
            yield from work(item)
