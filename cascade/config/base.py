"""What every section of params.yaml has in common."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

PARAMS_FILE = Path("params.yaml")
Share = float


class ConfigError(ValueError):
    """The parameter file is missing, is not YAML, or holds a key or value that no section knows."""


class Section(BaseModel):
    """Base of all sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
