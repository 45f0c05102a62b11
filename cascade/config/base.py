"""What every section of params.yaml has in common."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from cascade.config.renamed import renamed_keys

PARAMS_FILE = Path("params.yaml")
Share = float


class ConfigError(ValueError):
    """The parameter file is missing, is not YAML, or holds a key or value that no section knows."""


class YamlLoader(yaml.SafeLoader):
    """YAML as DVC reads it, which follows version 1.2: `off` and `no` are words, only true and false are booleans."""


BOOLEAN = "tag:yaml.org,2002:bool"
YamlLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != BOOLEAN]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
YamlLoader.add_implicit_resolver(BOOLEAN, re.compile(r"^(?:true|false)$", re.IGNORECASE), list("tTfF"))


class Section(BaseModel):
    """Base of all sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


Model = TypeVar("Model", bound=Section)


def read_sections(path: Path) -> dict[str, Any]:
    """Read a parameter file as a mapping of sections, unchecked.

    Raises:
        ConfigError: it is missing, is not YAML, holds no sections, or has keys of an older version; names their
            successors.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), YamlLoader)  # noqa: S506  # a SafeLoader
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; run from the project's root") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected sections, found {type(document).__name__}")
    if old := renamed_keys(document):
        lines = [f"  {name}: now {successor}" for name, successor in old.items()]
        raise ConfigError("\n".join([f"{path} is of an older version; rename these keys:", *lines]))
    return document


def validated(model: type[Model], document: dict[str, Any], path: Path) -> Model:
    """Check sections against their model.

    Raises:
        ConfigError: names the file and each key that is unknown, missing or out of range.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError("\n".join([f"{path} does not fit:", *lines])) from None
