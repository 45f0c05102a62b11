"""What every section of params.yaml has in common."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

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
