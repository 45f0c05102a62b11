"""Releases that differ in one respect each, and a challenge set on which the difference is known.

A picture has one colour. Roadwork is redder than blue: by 120, or by 12 where it is faint; clear pictures are bluer.
Pictures of the night have no green. So a classifier that asks for `threshold` more red than blue misses what is known
beforehand, at every level of degradation.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from cascade.release.build import build_release
from cascade.release.store import Release
from tasks.common.files import sha256, sha256_file, write_json
from tasks.config import Params, load_params
from tasks.data.reviews import COLUMNS
from tasks.data.schema import ImageRow, split_file
from tasks.release.gate import HardCasePaths
from tests.support import drawn, tiny
from tests.support.paths import ROOT

DAY, NIGHT = 160, 0
# red less blue, green, label, time, how many
GROUPS = (
    (120, DAY, 1, "noon", 12),
    (-120, DAY, 0, "noon", 18),
    (120, NIGHT, 1, "night", 6),
    (-120, NIGHT, 0, "night", 6),
    (12, DAY, 1, "noon", 6),
)
FAINT = 6 * 4  # views of roadwork that is faint


def picture(redness: int, green: int, number: int = 0) -> bytes:
    """One colour, red less blue as given; the number makes the bytes others."""
    colour = (128 + redness // 2 + redness % 2, green, 128 - redness // 2)
    image = Image.new("RGB", (96, 72), colour)
    image.putpixel((number % 96, 71 - number // 96), (colour[0], green, colour[2] ^ 1))
    return drawn.encode(image, "PNG")


def write_challenge(folder: Path) -> Path:
    """Write challenge.parquet, a place a picture, labels by turns at the beginning; gives the folder."""
    rows, number = [], 0
    for redness, green, label, time, count in GROUPS:
        for _ in range(count):
            data = picture(redness, green, number)
            slices = {"time": time}
            name, place = f"{number}.png", f"place-{number:02d}"
            rows.append(ImageRow(data, name, label, sha256(data), place, "challenge", "", "rendered", (), slices))
            number += 1
    drawn.write_parquet(split_file(folder, "challenge"), [row.to_record() for row in rows])
    return folder


def build(
    root: Path, name: str, *, threshold: float = 20.0, dark: float = 0.0, slow: bool = False, gap: float = 0.0
) -> Release:
    """Build a release of a classifier that sees the colour of a picture.

    Args:
        root: of everything.
        name: of the classifier's folder.
        threshold: red less blue from which on it is roadwork.
        dark: what each step of green below 60 costs, so that pictures of the night look clear.
        slow: computes much that it has no use for.
        gap: what its export says of its engine against torch.
    """
    folder = tiny.write_classifier(root / name)
    write_model(folder / "classifier.onnx", threshold, dark, slow=slow)
    engines = {"onnxruntime": {"max_probability_gap": gap, "precision": "fp32"}}
    write_json(folder / "parity.json", {"images": 1, "engines": engines, "limit": 0.02})
    report = tiny.write_metrics(root / "metrics.json")
    return build_release(folder, report, root / "releases", revision={"data": "d" * 64, "code": "c" * 40})


def write_model(path: Path, threshold: float, dark: float, *, slow: bool) -> None:
    """Write the ONNX graph: 0.2 times mean red less mean blue, less the threshold, less `dark` times missing green."""
    import onnx
    from onnx import TensorProto, helper

    weight = np.array([[0.2], [0.0], [-0.2]], dtype=np.float32)
    bias = np.array([-0.2 * threshold], dtype=np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["colour", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["red"]),
        helper.make_node("MatMul", ["colour", "green"], ["seen"]),
        helper.make_node("Add", ["seen", "least"], ["lacks"]),
        helper.make_node("Relu", ["lacks"], ["night"]),
        helper.make_node("Mul", ["night", "dark"], ["cost"]),
        helper.make_node("Sub", ["red", "cost"], ["column"]),
    ]
    constants = {
        "weight": weight,
        "bias": bias,
        "green": np.array([[0], [-1], [0]], dtype=np.float32),
        "least": np.array([60], dtype=np.float32),
        "dark": np.array([0.2 * dark], dtype=np.float32),
        "axis": np.array([1], dtype=np.int64),
    }
    last = "column"
    if slow:
        more, last = _idle_work(constants)
        nodes += more
    nodes.append(helper.make_node("Squeeze", [last, "axis"], ["logit"]))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", tiny.SIZE, tiny.SIZE, 3])
    logit = helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["batch"])
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "colour", [image], [logit], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def _idle_work(constants: dict[str, np.ndarray]) -> tuple[list[object], str]:
    """Nodes that multiply by a large matrix again and again, and add nothing to the answer."""
    from onnx import helper

    width, rounds = 1024, 40
    constants |= {
        "widen": np.zeros((1, width), dtype=np.float32),
        "large": np.eye(width, dtype=np.float32),
        "narrow": np.zeros((width, 1), dtype=np.float32),
    }
    nodes = [helper.make_node("MatMul", ["column", "widen"], ["wide0"])]
    nodes += [helper.make_node("MatMul", [f"wide{n}", "large"], [f"wide{n + 1}"]) for n in range(rounds)]
    nodes += [
        helper.make_node("MatMul", [f"wide{rounds}", "narrow"], ["nothing"]),
        helper.make_node("Add", ["column", "nothing"], ["sum"]),
    ]
    return nodes, "sum"


def write_hard_cases(root: Path, pictures: dict[bytes, int]) -> HardCasePaths:
    """Write one reviewed batch of pictures with their labels."""
    paths = HardCasePaths(root / "mined", root / "hard_cases", root / "reviews")
    rows = [
        ImageRow(data, f"{number}.png", 0, sha256(data), f"hard-{number}").to_record()
        for number, data in enumerate(pictures)
    ]
    batch = drawn.write_parquet(paths.mined / "batch.parquet", rows)
    (paths.mined / "manifest.json").write_text(json.dumps({"files": {batch.name: sha256_file(batch)}}))
    paths.reviews.mkdir(parents=True, exist_ok=True)
    with (paths.reviews / "mined.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows([sha256(data), "accept", label, "ada", "mined"] for data, label in pictures.items())
    return paths


def gate_params(root: Path, *, max_drop: float = 0.05) -> Params:
    """The project's parameters with fewer resamples and rounds, and all that is kept below `root`."""
    params = load_params(ROOT / "params.yaml")
    gate = params.gate
    changed = gate.model_copy(
        update={
            "store": root / "store",
            "resamples": 400,
            "slices": gate.slices.model_copy(update={"max_drop": max_drop}),
            "latency": gate.latency.model_copy(update={"rounds": 9, "max_ratio": 2.0}),
            "golden": gate.golden.model_copy(update={"pictures": 6}),
            "invariance": gate.invariance.model_copy(update={"views": 48}),
            "must_pass": gate.must_pass.model_copy(update={"file": root / "must_pass.csv"}),
        }
    )
    return params.model_copy(update={"gate": changed})
