"""Stage 1 against transformers, from a decoded picture to p, batch 1: `make bench` or `python -m tests.bench.stage1`.

What each side runs, on the same pictures, with the same threads, preprocessing included:
  ours         crop, resize, the engine of models/classifier as it serves (as many blocks as the head reads), sigmoid,
               without TTA; the stage with TTA is measured over all pictures afterwards
  pipeline     transformers' image-classification pipeline: its image processor and a Dinov2ForImageClassification of
               models/backbone in fp32, all 12 blocks, as a user of that checkpoint has it
  pipeline cut the same with as many blocks as ours, so that what is left out is told apart from what is faster
  torch        the very classifier that is served, as it was trained, in torch eager fp32, with our preprocessing
`--large` adds a DINOv2-L of random weights (24 blocks, 224 px) in our graph against torch eager fp32.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cascade.engines.classifier import ClassifierEngine, Contract, load_engine
from cascade.engines.openvino import OpenVinoSession
from cascade.preprocess.image import decode
from cascade.preprocess.pixels import to_input
from cascade.preprocess.tta import run_with_tta
from cascade.probability import sigmoid
from cascade.release.store import read_classifier
from cascade.stages.classifier import ClassifierStage
from tasks.common.files import read_json
from tasks.data.schema import read_records, split_file
from tests.bench.result import Sample, add_json, slower, write_result
from tests.bench.side_by_side import sample, show, time_in_turns

CLASSIFIER, BACKBONE, HEAD = Path("models/classifier"), Path("models/backbone"), Path("models/head")
ADAPTED = Path("models/adapted")
PICTURES, LARGE_PICTURES, SIZE = 64, 12, 224


def main() -> None:
    """Print both tables and the gap in probability."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, help="of both sides; by default what the classifier serves with")
    parser.add_argument("--large", action="store_true")
    parser.add_argument(
        "--int8", action="store_true", help="the large one with int8 weights and dynamic activations too"
    )
    add_json(parser)
    options = parser.parse_args()
    import torch

    pictures = _pictures()
    threads = options.threads or read_classifier(CLASSIFIER).threads
    torch.set_num_threads(threads)
    rows = _small(pictures, options.rounds, threads)
    if options.large:
        rows |= _large(pictures, max(3, options.rounds // 3), threads, quantized=options.int8)
    write_result(options.json, {name: [one] for name, one in rows.items()})


def _pictures() -> list[Any]:
    rows = sorted(read_records(split_file(Path("data/pulled"), "calibration")), key=lambda row: row["sha256"])
    return [decode(row["image"]["bytes"], max_pixels=1 << 40, min_side=1) for row in rows[:PICTURES]]


def _small(pictures: list[Any], rounds: int, threads: int) -> dict[str, Sample]:
    import torch

    from tasks.classifier.model import Classifier

    settings, head = read_classifier(CLASSIFIER), read_json(HEAD / "head.json")
    engine = load_engine(CLASSIFIER, settings.engine, settings.precision, threads)
    model = Classifier(ADAPTED, HEAD, head).eval()

    def ours(number: int) -> float:
        batch = to_input(pictures[number % len(pictures)], settings.size)[None]
        return float(sigmoid(engine.run(batch).astype(np.float64))[0])

    def torch_eager(number: int) -> float:
        batch = torch.from_numpy(to_input(pictures[number % len(pictures)], settings.size)[None])
        with torch.inference_mode():
            return float(torch.sigmoid(model(batch))[0])

    whole, cut = _pipeline(None), _pipeline(max(head["layers"]))
    ways = {
        "ours": ours,
        "pipeline": lambda number: whole(pictures[number % len(pictures)]),
        "pipeline cut": lambda number: cut(pictures[number % len(pictures)]),
        "torch": torch_eager,
    }
    times = time_in_turns(ways, rounds)
    blocks = f"{max(head['layers'])} blocks of 12"
    title = f"DINOv2-S, {settings.engine} {settings.precision}, {threads} threads, {blocks}"
    show(title, times, "ours", {"pipeline": 4.0})
    gaps = np.array([abs(ours(number) - torch_eager(number)) for number in range(len(pictures))])
    quantile = float(np.quantile(gaps, 0.95))
    print(
        f"|p - p of torch fp32| over {len(gaps)} pictures: largest {gaps.max():.4f} (allowed 0.02), "
        f"95th percentile {quantile:.4f}, mean {gaps.mean():.5f}"
    )
    engine.close()
    rows = {"stage1": "pipeline", "stage1_cut": "pipeline cut", "stage1_torch": "torch"}
    found = {row: sample(times, "ours", way) for row, way in rows.items()}
    return {**found, "stage1_tta": _stage(pictures, whole, model)}


def _stage(pictures: list[Any], pipeline: Callable[[Any], Any], model: Any) -> Sample:
    """Time stage 1 with TTA against the pipeline, picture by picture, and hold it against torch."""
    import torch

    def torch_run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(batch)).numpy()  # type: ignore[no-any-return]

    settings, stage = read_classifier(CLASSIFIER), ClassifierStage(CLASSIFIER)
    stage.load()
    seconds, seen, gaps = {"ours": 0.0, "pipeline": 0.0}, [], []
    for picture in pictures:
        start = time.perf_counter()
        seen += stage.predict([picture])
        seconds["ours"] += time.perf_counter() - start
        start = time.perf_counter()
        pipeline(picture)
        seconds["pipeline"] += time.perf_counter() - start
        truth = run_with_tta(torch_run, to_input(picture, settings.size)[None], settings.tta).logit
        gaps.append(abs((seen[-1].probability or 0.0) - float(sigmoid(truth.astype(np.float64))[0])))
    stage.unload()
    again = sum("views" in one.detail for one in seen)
    ours, other = (1000 * seconds[name] / len(pictures) for name in ("ours", "pipeline"))
    print(
        f"with TTA, of {again} of {len(pictures)} pictures: {ours:.1f} ms a picture, pipeline {other:.1f} ms, "
        f"{other / ours:.2f} times; |p - p of torch fp32 under the same rule| at most {max(gaps):.4f}"
    )
    return slower(ours, other)


def _pipeline(layers: int | None) -> Any:
    """Transformers' pipeline on the backbone's weights, with its own linear classifier of two classes."""
    import torch
    from transformers import AutoImageProcessor, Dinov2ForImageClassification, pipeline

    torch.manual_seed(7)
    cut = {} if layers is None else {"num_hidden_layers": layers}
    model = Dinov2ForImageClassification.from_pretrained(BACKBONE, use_safetensors=True, num_labels=2, **cut).eval()
    processor = AutoImageProcessor.from_pretrained(BACKBONE)
    return pipeline("image-classification", model=model, image_processor=processor, device="cpu")


def _large(pictures: list[Any], rounds: int, threads: int, *, quantized: bool) -> dict[str, Sample]:
    import torch

    from tasks.classifier.model import OUTPUT, write_onnx

    model, folded = _large_model()
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "large.onnx", Path(folder) / "large_int8.onnx"
        write_onnx(folded, SIZE, whole)
        contract = Contract.model_validate(
            {
                "input": {"dtype": "uint8", "shape": [None, SIZE, SIZE, 3]},
                "output": {"name": OUTPUT, "shape": [None]},
                "max_batch": 32,
            }
        )
        engines = {"ours in bf16": ClassifierEngine(OpenVinoSession(whole, "bf16", threads, fixed_one=True), contract)}
        if quantized:
            from tasks.optimize.groupwise_int8 import compress

            compress(whole, small, ("/patch/.*", "/head/.*"))
            session = OpenVinoSession(small, "int8", threads, fixed_one=True)
            engines["ours in int8"] = ClassifierEngine(session, contract)

    def eager(number: int) -> object:
        batch = to_input(pictures[number % len(pictures)], SIZE)[None]
        with torch.inference_mode():
            return model(torch.from_numpy(batch))

    def through(engine: ClassifierEngine) -> Callable[[int], object]:
        return lambda number: engine.run(to_input(pictures[number % len(pictures)], SIZE)[None])

    times = time_in_turns(
        {**{name: through(engine) for name, engine in engines.items()}, "torch": eager}, rounds, warm=1
    )
    title = f"DINOv2-L (random weights, 24 blocks), openvino, {threads} threads"
    for name in engines:
        show(title, times, name, {"torch": 2.5})
        print(f"{name}: {_apart(model, engines[name], pictures):.3f} of the spread between pictures, at most")
    rows = {"ours in bf16": "large_bf16", "ours in int8": "large_int8"}
    return {row: sample(times, name, "torch") for name, row in rows.items() if name in engines}


def _apart(model: Any, engine: ClassifierEngine, pictures: list[Any]) -> float:
    """Largest gap to torch's logits, in standard deviations of these: random weights make no probabilities."""
    import torch

    batch = np.stack([to_input(picture, SIZE) for picture in pictures[:LARGE_PICTURES]])
    with torch.inference_mode():
        truth = model(torch.from_numpy(batch)).numpy()
    found = np.concatenate([engine.run(batch[row : row + 1]) for row in range(len(batch))])
    return float(np.abs(found - truth).max() / truth.std())


def _large_model() -> tuple[Any, Any]:
    """A DINOv2-L with a linear head, in torch as transformers runs it, and folded."""
    import torch
    from torch import nn
    from transformers import Dinov2Config, Dinov2Model

    from tasks.classifier.backbone import Backbone
    from tasks.optimize.fold import FoldedClassifier

    torch.manual_seed(7)
    config = Dinov2Config(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, image_size=518, patch_size=14)
    body = Dinov2Model._from_config(config, attn_implementation="sdpa").eval()
    backbone = Backbone(body, (24,), SIZE)
    head = nn.Sequential(nn.Linear(backbone.width, 1), nn.Flatten(0))
    with torch.no_grad():
        folded = FoldedClassifier(SimpleNamespace(backbone=backbone, head=head, a=1.0, b=0.0)).eval()
    return nn.Sequential(backbone, head).eval(), folded


if __name__ == "__main__":
    main()
