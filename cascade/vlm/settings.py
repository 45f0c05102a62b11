"""`vlm.json`: everything that the runtime needs to know of a VLM, written by `python -m tasks.vlm`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cascade.probability import sigmoid
from cascade.release.manifest import Exits
from cascade.vlm.base import VlmError

SETTINGS_FILE = "vlm.json"


class Frozen(BaseModel):
    """Immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Scaling(Frozen):
    """`p = sigmoid(a * logit + b)`; `a` is one over the temperature (Guo et al. 2017), `b` puts the MCC cut at 0.5."""

    a: float = Field(gt=0)
    b: float

    def __call__(self, logit: float) -> float:
        """Give the probability of a raw logit."""
        return float(sigmoid(self.a * logit + self.b))


class ModelSource(Frozen):
    """Where a model is: a folder, relative ones below the VLM's own; or a snapshot of the Hub."""

    folder: str | None = None
    repo: str | None = None
    revision: str | None = None


class ServerSettings(Frozen):
    """How the vLLM process is started; see section `vlm.server` of params.yaml."""

    python: str | None
    port: int
    start_seconds: float
    stop_seconds: float
    sleep: bool
    memory_gib: float
    sleeping_gib: float = 0.0
    gpu_memory_utilization: float | None = None
    max_model_len: int
    dtype: str
    arguments: tuple[str, ...]


class VlmSettings(Frozen):
    """The whole file. Scaling and exits belong to this model and this question: with another one they mean nothing.

    Attributes:
        model: for pictures.
        clip_model: for clips; None: clips are predicted from their frames.
        device: whose memory it takes, that of the process or of its server.
        files: sha256 of the model's files that lie beside this one, by name; none of others is loaded.
    """

    backend: Literal["transformers", "server", "off"]
    model: ModelSource
    clip_model: ModelSource | None
    prompt: str
    yes_words: tuple[str, ...]
    no_words: tuple[str, ...]
    scaling: Scaling
    exits: Exits
    min_mass: float
    max_tokens: int
    thinking: bool
    time_limit_seconds: float
    retries: int
    batch_size: int
    max_side: int
    clip_frames: int
    threads: int
    device: Literal["cpu", "cuda"] = "cpu"
    memory_bytes: int
    server: ServerSettings | None
    files: dict[str, str]


def read_settings(folder: Path) -> VlmSettings:
    """Read a VLM's settings.

    Raises:
        VlmError: the file is missing or does not fit; names each key.
    """
    path = folder / SETTINGS_FILE
    try:
        return VlmSettings.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise VlmError(f"{path}: no such file; `dvc repro vlm` writes it") from None
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise VlmError(f"{path} does not fit: {'; '.join(lines)}; run `dvc repro vlm`") from None
    except ValueError as error:
        raise VlmError(f"{path}: not JSON: {error}; run `dvc repro vlm`") from None


def check_files(folder: Path, settings: VlmSettings) -> None:
    """Refuse weights that are not those that the settings vouch for.

    Raises:
        VlmError: names the file.
    """
    import hashlib

    for name, digest in settings.files.items():
        try:
            with (folder / name).open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise VlmError(f"{folder / name}: {error.strerror}; run `dvc repro vlm`") from None
        if found != digest:
            raise VlmError(f"{folder / name}: not the file that {SETTINGS_FILE} vouches for; run `dvc repro vlm`")
