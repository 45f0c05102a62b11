"""Who runs this, where the system knows a name and where it does not."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pytest

from tasks.common.user import set_user_name, user_name

VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        # set first, so that what the code sets is taken back
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def no_entry(uid: int) -> Any:
    raise KeyError(f"getpwuid(): uid not found: {uid}")


@pytest.mark.parametrize(
    ("variables", "has_entry", "name"),
    [
        # the system's word
        ({}, True, pwd.getpwuid(os.getuid()).pw_name),
        # a user id without a name
        ({}, False, f"uid-{os.getuid()}"),
        # the environment's word goes first
        ({"USER": "ada"}, False, "ada"),
        ({"USER": "ada", "LOGNAME": "grace"}, True, "grace"),
    ],
)
def test_name(environment: pytest.MonkeyPatch, variables: dict[str, str], has_entry: bool, name: str) -> None:
    for key, value in variables.items():
        environment.setenv(key, value)
    if not has_entry:
        environment.setattr(pwd, "getpwuid", no_entry)
    assert user_name() == name
    set_user_name()
    assert os.environ["LOGNAME"] == name
