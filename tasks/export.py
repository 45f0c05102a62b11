"""Step `export`: one ONNX file that takes pixels and gives a calibrated logit, no further from torch than agreed.

`python -m tasks.export` reads models/backbone, models/head and data/pulled and writes models/classifier. Both engines
are compared with torch in fp32 on real pictures; a larger gap fails the step and leaves the previous folder as it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.config import ConfigError, ExportParams, load_params
from cascade.engines import CONTRACT_FILE, MODEL_FILE, Engine, Kind, Precision, load_engine
from cascade.image import decode
from cascade.preprocess import to_input
from tasks.calibrate import sigmoid
from tasks.files import new_folder, read_json, write_json
from tasks.schema import DataError, read_records, split_file

if TYPE_CHECKING:
    from tasks.classifier import Classifier

BACKBONE, HEAD, PULLED = Path("models/backbone"), Path("models/head"), Path("data/pulled")
CLASSIFIER, REPORT = Path("models/classifier"), Path("reports/export/metrics.json")
MAX_BATCH = 32
ANY_SIZE = 1 << 40
TIMED = 7
Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class ParityError(ValueError):
    """An engine's answers differ from torch's by more than params.export.max_probability_gap."""


@dataclass(frozen=True)
class Inputs:
    """The folders that the step reads."""

    backbone: Path = BACKBONE
    head: Path = HEAD
    pulled: Path = PULLED


def export(
    params: ExportParams, inputs: Inputs | None = None, folder: Path = CLASSIFIER, report: Path = REPORT
) -> dict[str, Any]:
    """Write classifier.onnx, contract.json, classifier.json and parity.json, and two reports: metrics and latencies.

    Returns:
        The metrics.

    Raises:
        ParityError: an engine is too far from torch.
        DataError: the head or the calibration split is missing.
    """
    inputs = inputs or Inputs()
    head = _head(inputs.head)
    pictures = parity_pictures(inputs.pulled, params.parity_images, head["size"])
    with new_folder(folder) as partial:
        model = _write_model(inputs, head, partial)
        write_json(partial / CONTRACT_FILE, _contract(head["size"]))
        write_json(partial / "classifier.json", _description(head, params))
        parity, latency = compare(model, partial, pictures, params)
        write_json(partial / "parity.json", parity)
        _check(parity, params.max_probability_gap)
        megabytes = (partial / MODEL_FILE).stat().st_size / 1e6
    metrics = {"megabytes": round(megabytes, 3), "images": len(pictures), "parity": parity["engines"]}
    write_json(report, metrics)
    # timings differ from run to run: beside the metrics, not among them, so that dvc.lock does not
    write_json(report.with_name("latency.json"), latency)
    return {**metrics, **latency}


def _head(folder: Path) -> dict[str, Any]:
    path = folder / "head.json"
    if not path.is_file():
        raise DataError(f"{path}: no such file; `dvc repro train` writes it")
    return dict(read_json(path))


def parity_pictures(pulled: Path, count: int, size: int) -> NDArray[np.uint8]:
    """Give the calibration split's first pictures by digest: (n, size, size, 3), n at most `count`.

    Raises:
        DataError: the split is missing or empty.
    """
    path = split_file(pulled, "calibration")
    if not path.is_file():
        raise DataError(f"{path}: no such file; `dvc repro pull_data` writes it")
    chosen = sorted(row["sha256"] for row in read_records(path, columns=["sha256"], batch=1024))[:count]
    if not chosen:
        raise DataError(f"{path}: holds no pictures to compare engines on")
    wanted, found = set(chosen), {}
    for row in read_records(path, columns=["image", "sha256"]):
        if row["sha256"] in wanted:
            found[row["sha256"]] = to_input(decode(row["image"]["bytes"], max_pixels=ANY_SIZE, min_side=1), size)
    return np.stack([found[digest] for digest in chosen])


def _write_model(inputs: Inputs, head: dict[str, Any], folder: Path) -> Classifier:
    from tasks.classifier import Classifier, write_onnx

    model = Classifier(inputs.backbone, inputs.head, head)
    model.eval()
    write_onnx(model, head["size"], folder / MODEL_FILE)
    return model


def _contract(size: int) -> dict[str, Any]:
    return {
        "input": {"dtype": "uint8", "shape": [None, size, size, 3]},
        "output": {"name": "logit", "shape": [None]},
        "max_batch": MAX_BATCH,
    }


def _description(head: dict[str, Any], params: ExportParams) -> dict[str, Any]:
    """What the runtime has to know beside the graph."""
    kept = {name: head[name] for name in ("exits", "exit_fit", "risk", "risk_confidence", "size", "layer")}
    return {
        **kept,
        "calibration": head["calibration"],
        "engine": params.engine,
        "precision": params.precision if params.engine == "openvino" else "fp32",
        "threads": params.threads,
    }


def compare(
    model: Classifier, folder: Path, pictures: NDArray[np.uint8], params: ExportParams
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Answer the same pictures with torch and both engines.

    Returns:
        The gaps, which follow from the inputs, and the milliseconds a picture, which do not and stay out of the folder.
    """
    wanted: list[tuple[Kind, Precision]] = [("openvino", params.precision), ("onnxruntime", "fp32")]
    engines = [load_engine(folder, kind, precision, params.threads) for kind, precision in wanted]
    try:
        reference = _answer(_torch_answer(model, params.threads), pictures)
        gaps = {engine.name: _gap(engine, pictures, reference) for engine in engines}
        answers: dict[str, Answer] = {engine.name: engine.run for engine in engines}
        latency = _latency({**answers, "torch": _torch_answer(model, params.threads)}, pictures)
    finally:
        for engine in engines:
            engine.close()
    return {"images": len(pictures), "engines": gaps, "limit": params.max_probability_gap}, latency


def _torch_answer(model: Classifier, threads: int) -> Answer:
    import torch

    torch.set_num_threads(threads)

    def answer(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return model(torch.from_numpy(batch)).numpy()  # type: ignore[no-any-return]

    return answer


def _answer(answer: Answer, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Probabilities of all pictures, a few at a time."""
    parts = [answer(pictures[start : start + 8]) for start in range(0, len(pictures), 8)]
    return sigmoid(np.concatenate(parts).astype(np.float64))


def _gap(engine: Engine, pictures: NDArray[np.uint8], reference: NDArray[np.float64]) -> dict[str, Any]:
    gap = np.abs(_answer(engine.run, pictures) - reference)
    return {
        "precision": engine.precision,
        "max_probability_gap": round(float(gap.max()), 7),
        "mean_probability_gap": round(float(gap.mean()), 7),
        "worst_image": int(gap.argmax()),
    }


def _latency(answers: dict[str, Answer], pictures: NDArray[np.uint8]) -> dict[str, Any]:
    """Median milliseconds of a single picture, engines in turn, so that a busy moment falls on all of them."""
    times: dict[str, list[float]] = {name: [] for name in answers}
    for number in range(TIMED + 1):
        picture = pictures[number % len(pictures)][None]
        for name, answer in answers.items():
            start = time.perf_counter()
            answer(picture)
            times[name].append(time.perf_counter() - start)
    # the first round warms up
    return {"milliseconds": {name: round(1000 * float(np.median(seen[1:])), 2) for name, seen in times.items()}}


def _check(parity: dict[str, Any], limit: float) -> None:
    for name, gap in parity["engines"].items():
        if gap["max_probability_gap"] > limit:
            raise ParityError(
                f"{name} ({gap['precision']}) differs from torch by {gap['max_probability_gap']:.4f} in probability on "
                f"parity picture {gap['worst_image']}; export.max_probability_gap allows {limit}. "
                "The previous classifier stays. Try export.precision: fp32"
            )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    argparse.ArgumentParser(prog="python -m tasks.export", description=__doc__).parse_args(arguments)
    try:
        print(export(load_params().export))
    except (ConfigError, ValueError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
