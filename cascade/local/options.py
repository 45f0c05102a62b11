"""Options of `streetvision evaluate` as values; what does not fit is one line on stderr and exit code 1."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer
from pydantic import ValidationError

from cascade.evaluate.prior import read_prior
from cascade.release.store import CropSettings


def prior_given(text: str) -> float | None:
    """The share of roadwork that figures are for; None for that of the images.

    Raises:
        typer.Exit: it is none.
    """
    try:
        return read_prior(text)
    except ValueError as error:
        _refuse(f"--prior {error}")


def crops_given(count: int | None, pool: str) -> CropSettings | None:
    """The squares that stage 1 gets; None for those of the release.

    Raises:
        typer.Exit: there is no such setting.
    """
    try:
        return None if count is None else CropSettings.model_validate({"count": count, "pool": pool})
    except ValidationError as error:
        _refuse(f"--crops {count} --pool {pool}: {error.errors()[0]['msg']}")


def _refuse(line: str) -> NoReturn:
    print(line, file=sys.stderr)
    raise typer.Exit(1) from None
