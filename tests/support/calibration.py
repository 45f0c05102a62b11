"""Splits of a few pictures to calibrate on, and a Molmo2 under the names of its publication."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cascade.vlm import awq
from cascade.vlm.settings import SETTINGS_FILE
from tasks.common.files import sha256, sha256_file
from tasks.data.schema import ImageRow, arrow_schema


def write_split(path: Path, pictures: list[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        ImageRow(
            data=data, name=f"{number}.jpg", label=number % 2, sha256=sha256(data), place=str(number),
            scene_description="Roadworks with cones on a city road." if number % 2 else "",
        ).to_record()
        for number, data in enumerate(pictures)
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema()), path)


def picture(number: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (72, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, format="JPEG")
    return stream.getvalue()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir() if path.name != SETTINGS_FILE}


def publish(folder: Path) -> None:
    """Rename a Molmo2 to what allenai/Molmo2-8B has on the Hub; vLLM's molmo2.py reads no other names."""
    import torch
    from safetensors.torch import load_file, save_file

    found = load_file(folder / awq.WEIGHTS)
    renamed = {name: value for name, value in found.items() if ".language_model.layers." not in name}
    for number in range(2):
        old, new = f"model.language_model.layers.{number}.", f"model.transformer.blocks.{number}."

        def joined(*names: str, old: str = old) -> Any:
            return torch.cat([found[f"{old}{name}.weight"] for name in names])

        renamed |= {
            f"{new}self_attn.att_proj.weight": joined("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            f"{new}self_attn.attn_out.weight": joined("self_attn.o_proj"),
            f"{new}self_attn.q_norm.weight": joined("self_attn.q_norm"),
            f"{new}self_attn.k_norm.weight": joined("self_attn.k_norm"),
            f"{new}mlp.ff_proj.weight": joined("mlp.up_proj", "mlp.gate_proj"),
            f"{new}mlp.ff_out.weight": joined("mlp.down_proj"),
            f"{new}attn_norm.weight": joined("input_layernorm"),
            f"{new}ff_norm.weight": joined("post_attention_layernorm"),
        }
    save_file(renamed, folder / awq.WEIGHTS, metadata={"format": "pt"})
