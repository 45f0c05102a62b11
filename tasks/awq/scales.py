"""The scales that a search found, as files: with those of the sample's VLM nothing is searched again.

A search runs each decoder layer a few dozen times and is most of what the step takes. What it finds is small: a number
a channel. Applied to the same weights they give the same checkpoint, on any machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.vlm import awq
from tasks.awq.backend import QuantizeError
from tasks.common.files import new_folder, read_json, sha256, sha256_file, write_bytes, write_json

if TYPE_CHECKING:
    import torch

    from tasks.config import QuantizeParams

# the layer before, those after it, and the scales (channels,), as AutoAWQ gives and takes them
LayerScales = tuple[str, tuple[str, ...], "torch.Tensor"]
Scales = dict[int, list[LayerScales]]
SHIPPED = Path("models/shipped/vlm_awq")
SCALES_FILE, MANIFEST = "scales.safetensors", "manifest.json"
SEARCH = "set quantize.scales to search in params.yaml"
# of section `quantize`: what the scales depend on beside the model and the pictures
SEARCHED = ("group_size", "samples", "length", "grid", "search_tokens", "seed")


def write_scales(folder: Path, scales: Scales, source: Path, params: QuantizeParams, counts: dict[str, int]) -> None:
    """Write scales.safetensors, and manifest.json with what they were searched for.

    Args:
        folder: is replaced as a whole.
        scales: of each decoder layer.
        source: folder of the model.
        params: section `quantize`.
        counts: of the calibration samples.
    """
    from safetensors.torch import save

    tensors = {f"{number}.{before}": one.float() for number, found in scales.items() for before, _, one in found}
    content = save({name: tensor.contiguous() for name, tensor in sorted(tensors.items())})
    with new_folder(folder) as partial:
        write_bytes(partial / SCALES_FILE, content)
        document = {"files": {SCALES_FILE: sha256(content)}, "params": _searched(params), "samples": counts}
        write_json(partial / MANIFEST, {**document, "source": _weights(source)})


def read_manifest(folder: Path, source: Path, params: QuantizeParams) -> dict[str, Any]:
    """Read what shipped scales were searched for.

    Args:
        folder: see `write_scales`.
        source: folder of the model that is to be quantized.
        params: section `quantize`.

    Raises:
        QuantizeError: they are missing, damaged, of another model or for other parameters.
    """
    for path in (folder / MANIFEST, folder / SCALES_FILE):
        if not path.is_file():
            raise QuantizeError(f"{path}: no such file; restore it from git, or {SEARCH}")
    manifest = dict(read_json(folder / MANIFEST))
    if sha256_file(folder / SCALES_FILE) != manifest["files"].get(SCALES_FILE):
        raise QuantizeError(f"{folder / SCALES_FILE}: its sha256 is not the manifest's; restore the file from git")
    if manifest["source"] != _weights(source):
        raise QuantizeError(f"{folder}: searched for another model than {source}; {SEARCH}")
    wanted = _searched(params)
    if changed := [name for name in wanted if manifest["params"].get(name) != wanted[name]]:
        raise QuantizeError(f"{folder}: searched with another quantize.{', quantize.'.join(changed)}; {SEARCH}")
    return manifest


def read_scales(folder: Path, scaled: list[tuple[str, tuple[str, ...], str]]) -> Scales:
    """Read scales, in the order in which a family applies them.

    Args:
        folder: of a manifest that was read.
        scaled: of the model's family, see `tasks.awq.families.LanguageTower`.

    Raises:
        QuantizeError: the file has no scales for one of the family's layers.
    """
    from safetensors.torch import load_file

    tensors, scales = load_file(folder / SCALES_FILE), Scales()
    for number in sorted({int(name.partition(".")[0]) for name in tensors}):
        missing = [before for before, _, _ in scaled if f"{number}.{before}" not in tensors]
        if missing:
            raise QuantizeError(f"{folder / SCALES_FILE}: has no scales for layer {number}'s {missing[0]}; {SEARCH}")
        scales[number] = [(before, after, tensors[f"{number}.{before}"]) for before, after, _ in scaled]
    return scales


def _searched(params: QuantizeParams) -> dict[str, Any]:
    return {name: getattr(params, name) for name in SEARCHED}


def _weights(source: Path) -> dict[str, str]:
    """Digests of a model's weights by file."""
    return {name: sha256_file(source / name) for name in sorted(awq.shards(source))}
