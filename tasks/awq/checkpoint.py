"""Write a quantized checkpoint: the source's files, with the decoder's linear layers packed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.vlm import awq
from cascade.vlm.settings import SETTINGS_FILE
from tasks.awq.backend import Layer, QuantizeError
from tasks.awq.layout import TensorPlace, place
from tasks.awq.packing import pack
from tasks.common.files import read_json, write_json

if TYPE_CHECKING:
    import torch

    Packed = dict[str, torch.Tensor]

COPIED = {".json", ".jinja", ".txt", ".model"}
WRITTEN = {awq.CONFIG, awq.INDEX, SETTINGS_FILE}
# of names in transformers and in vLLM
NOT_CONVERTED = ["visual", "vision_tower", "vision_backbone", "multi_modal_projector", "lm_head"]
SIXTEEN = "bfloat16"


class Tower:
    """The searched layers, packed as they come: of a large model the float weights never lie side by side."""

    def __init__(self, layers: Iterable[Layer], group: int) -> None:
        self.packed: dict[tuple[int, str], Packed] = {}
        self.plain: dict[tuple[int, str], torch.Tensor] = {}
        for number, tensors in layers:
            for name, value in tensors.items():
                if value.dim() == 2 and name.endswith(".weight"):
                    self.packed[number, name.removesuffix(".weight")] = _packed(number, name, value, group)
                else:
                    self.plain[number, name] = value.cpu()
        self._left = set(self.packed)

    def replace(self, name: str, given: torch.Tensor, where: TensorPlace) -> dict[str, torch.Tensor]:
        """What stands in the new checkpoint for one of the source's tensors in the language tower."""
        import torch

        if where.kind == "weight" and all((where.number, module) in self.packed for module in where.modules):
            self._left -= {(where.number, module) for module in where.modules}
            parts = [self.packed[where.number, module] for module in where.modules]
            stem = name.removesuffix(".weight")
            return {f"{stem}.{part}": torch.cat([one[part] for one in parts], dim=1) for part in awq.PARTS}
        values = [self.plain[where.number, f"{module}.{where.kind}"] for module in where.modules]
        if (found := torch.cat(values)).shape != given.shape:
            raise QuantizeError(f"{name} is {tuple(given.shape)} in the source and {tuple(found.shape)} in the model")
        return {name: found}

    def check_all_used(self) -> None:
        """Refuse a source in which a quantized layer was not found: the checkpoint would lack it."""
        if self._left:
            number, name = min(self._left)
            raise QuantizeError(f"the source has no tensor for layer {number}'s {name}; its naming is not known")


def _packed(number: int, name: str, weight: torch.Tensor, group: int) -> Packed:
    """A weight of a layer, packed on the card where there is one, in main memory."""
    import torch

    where = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return {part: value.cpu() for part, value in pack(weight.to(where), group).items()}
    except QuantizeError as error:
        raise QuantizeError(f"layer {number}, {name}: {error}") from None


def write(source: Path, target: Path, layers: Iterable[Layer], group: int) -> None:
    """Fill an existing folder with the quantized model.

    Tensors outside of the language tower's layers stay as they are, bit by bit; those of 32 bits become bfloat16.

    Args:
        source: the model in 16 or 32 bits.
        target: takes the files.
        layers: what a backend gives.
        group: input channels that share a scale.

    Raises:
        QuantizeError: layers and source do not fit each other.
        OSError: no space, or not readable.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    files = awq.shards(source)
    tower, where = Tower(layers, group), dict[str, str]()
    size = 0
    for name, keys in files.items():
        tensors: dict[str, torch.Tensor] = {}
        with safe_open(source / name, framework="pt") as file:
            for key in keys:
                given, found = file.get_tensor(key), place(key)
                tensors |= tower.replace(key, given, found) if found else {key: given}
        tensors = {key: _sixteen(value) for key, value in tensors.items()}
        save_file(tensors, target / name, metadata={"format": "pt"})
        where |= dict.fromkeys(tensors, name)
        size += sum(value.nbytes for value in tensors.values())
    tower.check_all_used()
    if (source / awq.INDEX).is_file():
        write_json(target / awq.INDEX, {"metadata": {"total_size": size}, "weight_map": where})
    _write_texts(source, target, group)


def _sixteen(value: torch.Tensor) -> torch.Tensor:
    import torch

    return (value.bfloat16() if value.dtype == torch.float32 else value).contiguous()


def _write_texts(source: Path, target: Path, group: int) -> None:
    for path in sorted(source.iterdir()):
        if path.suffix in COPIED and path.name not in WRITTEN:
            shutil.copyfile(path, target / path.name)
    config = _halved(read_json(source / awq.CONFIG))
    config[awq.KEY] = {
        "quant_method": "awq",
        "bits": awq.BITS,
        "group_size": group,
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": NOT_CONVERTED,
    }
    # keys in the source's order, for people who compare the two
    (target / awq.CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _halved(config: Any) -> Any:
    """The config of a 16-bit model."""
    if isinstance(config, dict):
        named = {name: _halved(value) for name, value in config.items()}
        return named | {key: SIXTEEN for key in ("dtype", "torch_dtype") if named.get(key) == "float32"}
    return config
