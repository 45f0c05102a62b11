"""Backend `llm_compressor`: AutoAWQ's successor, in an environment of its own since its pins clash with ours.

`python3 -m venv var/llmcompressor && var/llmcompressor/bin/pip install llmcompressor==0.14.0.1`, and its interpreter
as `quantize.python` or STREETVISION_LLMCOMPRESSOR. It gives back scaled weights, no checkpoint: those that it writes
itself do not load again for these models (zero points of another shape, fused names of Molmo2).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.process.supervisor import run
from tasks.awq.backend import Encoded, Layer, QuantizeError
from tasks.common.files import read_json, write_json

if TYPE_CHECKING:
    import torch

    from tasks.config import QuantizeParams

PYTHON = "STREETVISION_LLMCOMPRESSOR"
SCRIPT = Path(__file__).parent / "foreign/compress.py"
LAYER = re.compile(r"^(\d+)\.(.+)$")
SHOWN = 600
# model types and whether gate and up are one layer
FUSED_GATE = {"llava": False, "glm4v": True, "glm46v": True, "molmo2": False}


def search(source: Path, samples: list[Encoded], params: QuantizeParams) -> Iterator[Layer]:
    """See `tasks.awq.backend.Backend`."""
    from safetensors.torch import load_file, save_file

    kind = read_json(source / "config.json").get("model_type")
    if kind not in FUSED_GATE:
        raise QuantizeError(f"no AWQ mapping for model_type {kind!r}; known: {', '.join(sorted(FUSED_GATE))}")
    with tempfile.TemporaryDirectory(prefix="awq-") as name:
        work = Path(name)
        flat = {f"{number}.{key}": value for number, sample in enumerate(samples) for key, value in sample.items()}
        save_file({key: value.contiguous() for key, value in flat.items()}, work / "samples.safetensors")
        wanted = {"source": str(source.resolve()), "group": params.group_size, "grid": params.grid}
        write_json(work / "request.json", {**wanted, "fused_gate": FUSED_GATE[kind], "threads": params.threads})
        _call([str(interpreter(params)), str(SCRIPT), str(work)])
        yield from _layers(load_file(work / "layers.safetensors"))


def interpreter(params: QuantizeParams) -> Path:
    """The Python of llm-compressor's environment.

    Raises:
        QuantizeError: none is named, or it is not there.
    """
    named = os.environ.get(PYTHON) or params.python
    if named is None:
        raise QuantizeError(
            f"quantize.python or {PYTHON} must name an interpreter with llm-compressor; docs/quantization.md"
        )
    if not Path(named).is_file():
        raise QuantizeError(f"{named}: no such file (quantize.python, {PYTHON})")
    return Path(named)


def _call(command: list[str]) -> None:
    """Run the other environment; its bars go to this terminal, and its last words into the error."""
    # the project's own packages are not for that environment
    surroundings: dict[str, Any] = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = run(command, env=surroundings)
    if done.returncode:
        raise QuantizeError(f"llm-compressor ended with code {done.returncode}: {done.stdout.strip()[-SHOWN:]}")


def _layers(tensors: dict[str, torch.Tensor]) -> Iterator[Layer]:
    found: dict[int, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, value in tensors.items():
        match = LAYER.match(name)
        if match:
            found[int(match[1])][match[2]] = value
    yield from sorted(found.items())
