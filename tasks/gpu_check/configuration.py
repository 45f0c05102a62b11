"""The real sizes of the profiles' models, as JSON beside this file: nothing is downloaded to know them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

FOLDER = Path(__file__).parent / "configurations"


class UnknownModelError(ValueError):
    """No configuration of a repository is kept here, or transformers does not know its class."""


class Configuration(BaseModel):
    """One model.

    Attributes:
        repo: whose model it is.
        source: where the figures are from.
        million_parameters: as published, which a test holds the configuration against.
        config: for the library's class.
        tiny: for the same class, so small that a processor runs it in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str
    source: str
    million_parameters: float
    config: dict[str, Any]
    tiny: dict[str, Any]

    def sized(self, *, tiny: bool) -> dict[str, Any]:
        """The configuration, at its real size or the tiny one."""
        return self.tiny if tiny else self.config


def of_transformers(name: str) -> Any:
    """A class of transformers.

    Raises:
        UnknownModelError: the version that is installed has none of this name.
    """
    import transformers

    if not hasattr(transformers, name):
        raise UnknownModelError(
            f"transformers {transformers.__version__} has no {name}; a newer version has, such as that of uv.lock"
        )
    return getattr(transformers, name)


def configurations() -> list[Configuration]:
    """All that are kept."""
    files = sorted(FOLDER.glob("*.json"))
    return [Configuration.model_validate(json.loads(file.read_text(encoding="utf-8"))) for file in files]


def find(repo: str | None) -> Configuration:
    """The configuration of a repository.

    Raises:
        UnknownModelError: names those that are known.
    """
    known = {one.repo.lower(): one for one in configurations()}
    if repo is None or repo.lower() not in known:
        names = ", ".join(one.repo for one in known.values())
        raise UnknownModelError(
            f"no configuration of {repo} in {FOLDER.relative_to(FOLDER.parents[2])}; known: {names}"
        )
    return known[repo.lower()]
