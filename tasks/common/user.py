"""The name of who runs this, also where the system has none for the user id, as in a container with `--user 12345`."""

from __future__ import annotations

import getpass
import os

# the first of the variables that `getpass.getuser` looks at
VARIABLE = "LOGNAME"


def user_name() -> str:
    """Give the user's name, `uid-12345` where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # KeyError until Python 3.12
        return f"uid-{os.getuid()}"


def set_user_name() -> None:
    """Give this process and its children a name, without which DVC, MLflow and GitPython end in a KeyError."""
    os.environ.setdefault(VARIABLE, user_name())
