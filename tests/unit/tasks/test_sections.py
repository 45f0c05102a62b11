"""Sections of params.yaml as Prefect takes them: it makes a dict of each model that a task is given."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from tasks.config import load_params
from tests.support.paths import ROOT


def models(one: BaseModel) -> Iterator[BaseModel]:
    """A model and all that it holds."""
    yield one
    for _, value in one.__iter__():
        if isinstance(value, BaseModel):
            yield from models(value)


def test_each_section_can_be_turned_into_a_dict() -> None:
    """A field named `keys` would make `dict` call it."""
    for section in models(load_params(ROOT / "params.yaml")):
        assert set(dict(section)) == set(type(section).model_fields)
