"""Options of `python -m tasks.synthesize` that take the place of keys of params.yaml for one run."""

from __future__ import annotations

import argparse
from typing import Any

from pydantic import ValidationError

from tasks.config import ConfigError, SynthesizeParams


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each key that may be given."""
    parser.add_argument("--engine", choices=["render", "sdxl"])
    parser.add_argument("--num-positive", type=int, metavar="N", help="pictures with roadworks")
    parser.add_argument("--num-negative", type=int, metavar="M", help="pictures without")
    parser.add_argument("--seed", type=int)
    parser.add_argument(
        "--slice", dest="slices", type=_slice, action="append", metavar="NAME=A,B", help="only these: time=night,dusk"
    )


def given_options(options: argparse.Namespace) -> dict[str, Any]:
    """The keys that were given, with their values."""
    names = ("engine", "num_positive", "num_negative", "seed", "slices")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    return {**given, "slices": dict(given["slices"])} if "slices" in given else given


def with_changes(params: SynthesizeParams, changes: dict[str, Any]) -> SynthesizeParams:
    """Give the section with some keys changed, checked anew.

    Raises:
        ConfigError: the result does not fit.
    """
    try:
        return SynthesizeParams.model_validate({**params.model_dump(), **changes})
    except ValidationError as error:
        lines = [f"  synthesize.{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError("\n".join(["params.yaml with the options given does not fit:", *lines])) from None


def _slice(text: str) -> tuple[str, list[str]]:
    name, separator, values = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text}: expected name=value,value")
    return name, values.split(",")
