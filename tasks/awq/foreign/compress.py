"""Runs in llm-compressor's environment, as a script: imports nothing of this project.

Argument: a folder with request.json and samples.safetensors. Writes layers.safetensors: the decoder's layers after
AWQ's scaling, not rounded, as `<number>.<name inside the layer>`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TOWER = "language_model.layers."


def main(work: Path) -> None:
    """Scale one model."""
    import torch
    from llmcompressor import oneshot  # type: ignore[import-not-found]
    from safetensors.torch import save_file
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    request = json.loads((work / "request.json").read_text(encoding="utf-8"))
    torch.set_num_threads(request["threads"])
    if not torch.accelerator.is_available():
        # its cache pins memory even where there is no device to copy to
        torch.Tensor.pin_memory = lambda self, *_: self
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    dtype = torch.bfloat16 if torch.accelerator.is_available() else torch.float32
    model = AutoModelForImageTextToText.from_pretrained(request["source"], dtype=dtype, **options)
    # the samples are encoded already; it only wants to see one, and a whole processor needs torchvision
    tokens = AutoTokenizer.from_pretrained(request["source"], **options)
    samples = _samples(work / "samples.safetensors", dtype)
    oneshot(
        model=model, processor=tokens, dataset=torch.utils.data.DataLoader(samples, batch_size=None),
        recipe=_recipe(request), num_calibration_samples=len(samples), pipeline="basic", log_dir=None,
    )  # fmt: skip
    found = {
        name.split(TOWER, 1)[1]: value.detach().to(torch.float32).cpu().contiguous()
        for name, value in model.state_dict().items()
        if TOWER in name and name.rsplit(".", 1)[-1] in ("weight", "bias")
    }
    save_file(found, work / "layers.safetensors")


def _samples(path: Path, dtype: Any) -> list[dict[str, Any]]:
    from safetensors.torch import load_file

    samples: dict[int, dict[str, Any]] = {}
    for name, value in load_file(path).items():
        number, key = name.split(".", 1)
        samples.setdefault(int(number), {})[key] = value.to(dtype) if value.is_floating_point() else value
    return [samples[number] for number in sorted(samples)]


def _recipe(request: dict[str, Any]) -> list[Any]:
    """Mappings that name the language tower: the default ones match layers of the vision tower too."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme  # type: ignore[import-not-found]
    from llmcompressor.modifiers.quantization import QuantizationModifier  # type: ignore[import-not-found]
    from llmcompressor.modifiers.transform.awq import AWQMapping, AWQModifier  # type: ignore[import-not-found]

    within = r"re:.*language_model\.layers\.\d+\."
    gates = ["gate_up_proj"] if request["fused_gate"] else ["gate_proj", "up_proj"]
    mappings = [
        AWQMapping(within + "input_layernorm$", [within + rf"self_attn\.{name}_proj$" for name in "qkv"]),
        AWQMapping(within + "post_attention_layernorm$", [within + rf"mlp\.{name}$" for name in gates]),
    ]
    if not request["fused_gate"]:
        mappings.append(AWQMapping(within + r"mlp\.up_proj$", [within + r"mlp\.down_proj$"]))
    weights = QuantizationArgs(
        num_bits=4, type="int", symmetric=False, strategy="group", group_size=request["group"], dynamic=False
    )
    linear = [within + r"self_attn\.[qkvo]_proj$", within + r"mlp\..*_proj$"]
    scheme = QuantizationScheme(targets=linear, weights=weights)
    return [
        AWQModifier(mappings=mappings, n_grid=request["grid"]),
        QuantizationModifier(config_groups={"group_0": scheme}),
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
