"""What a TensorRT engine is bound to: a GPU, its driver, TensorRT's version, and the graph that it was built from.

The record lies beside the engine as `<engine>.json` and is compared with the machine before the engine is loaded: one
that was built elsewhere may load and answer wrongly (NVIDIA/TensorRT issues 4742 and 4837).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cascade.engines.base import EngineError
from cascade.extras import command

VERSION_FILE = Path("/proc/driver/nvidia/version")


class Machine(BaseModel):
    """The machine that an engine is built and runs on.

    Attributes:
        gpu: name of the graphics card.
        compute: compute capability, such as 8.9.
        driver: NVIDIA's driver, such as 580.65.06.
        tensorrt: the library's version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    gpu: str
    compute: str
    driver: str
    tensorrt: str


class EngineKey(Machine):
    """What an engine was built for, and from.

    Attributes:
        onnx: SHA-256 of the graph.
        precision: of the graph.
        batches: minimum, optimum and maximum of pictures a call.
    """

    onnx: str = Field(pattern=r"^[0-9a-f]{64}$")
    precision: Literal["fp16", "fp32"]
    batches: tuple[int, int, int]

    def foreign(self, here: Machine) -> list[str]:
        """List in words what differs between the machine of the engine and another one."""
        names = {"gpu": "GPU", "compute": "compute capability", "driver": "driver", "tensorrt": "TensorRT"}
        return [
            f"{words} {getattr(self, name)}, here {getattr(here, name)}"
            for name, words in names.items()
            if getattr(self, name) != getattr(here, name)
        ]


class EngineRecord(BaseModel):
    """`<engine>.json`: the key, and what the engine's file must be.

    Attributes:
        size: of the engine, bytes.
        sha256: of the engine, hex.
        verification: share of FP16 layers, parity and metric; empty until they were measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: EngineKey
    size: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    verification: dict[str, Any] = {}


def record_path(engine: Path) -> Path:
    """Path of an engine's record."""
    return engine.with_name(f"{engine.name}.json")


def read_record(engine: Path) -> EngineRecord:
    """Read the record beside an engine.

    Raises:
        EngineError: it is missing, invalid, or of an older version.
    """
    path = record_path(engine)
    if not path.is_file():
        raise EngineError(
            f"{path}: no such file; without it {engine.name} is not loaded; `dvc repro export` builds it again"
        )
    try:
        return EngineRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        raise EngineError(f"{path}: not an engine's record; `dvc repro export` writes it again: {error}") from None


def read_engine(engine: Path, record: EngineRecord) -> bytes:
    """Read an engine and check it against its record.

    Raises:
        EngineError: it is missing, cut short or altered.
    """
    if not engine.is_file():
        raise EngineError(f"{engine}: no such file; `dvc repro export` on a machine with an NVIDIA GPU writes it")
    size = engine.stat().st_size
    if size != record.size:
        raise EngineError(f"{engine}: cut short: {size} of {record.size} bytes; copy it again, or build it again")
    data = engine.read_bytes()
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise EngineError(f"{engine}: altered since it was built; copy it again, or build it again")
    return data


def digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def this_machine() -> Machine:
    """Read GPU, driver and TensorRT of this machine.

    Raises:
        EngineError: there is no GPU, or TensorRT is not installed.
    """
    require_tensorrt()
    import tensorrt
    import torch

    if not torch.cuda.is_available():
        raise EngineError("TensorRT needs an NVIDIA GPU, and torch sees none; choose export.engine: openvino")
    found = torch.cuda.get_device_properties(0)
    return Machine(
        gpu=found.name, compute=f"{found.major}.{found.minor}", driver=_driver(), tensorrt=str(tensorrt.__version__)
    )


def require_tensorrt() -> None:
    """Import TensorRT once, so that `import tensorrt` works from here on.

    Raises:
        EngineError: it is not installed, or its libraries are missing.
    """
    try:
        importlib.import_module("tensorrt")
    except ImportError as error:
        raise EngineError(
            f"TensorRT cannot be imported ({error}); install it with `{command('gpu')}`, "
            "or choose export.engine: openvino"
        ) from None


def _driver() -> str:
    """The driver's version, from nvidia-smi, or from the kernel where a container lacks nvidia-smi."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        answer = ""
    if not answer and VERSION_FILE.is_file():
        answer = next((word for word in VERSION_FILE.read_text().split() if word[:1].isdigit()), "")
    if not answer:
        raise EngineError("neither nvidia-smi nor the kernel says which driver runs; engines are bound to it")
    return answer
