"""Quantize a VLM, and let the result take its source's place only within the limits."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.vlm.settings import VlmSettings, check_files, read_settings
from tasks.awq.backend import Backend, Layer, QuantizeError
from tasks.awq.checkpoint import write
from tasks.awq.examine import examine, refuse_outside_limits
from tasks.awq.folder import IMAGES, folder_of, models, seal, with_own_mass
from tasks.awq.samples import encoded
from tasks.awq.scales import SHIPPED, read_manifest, write_scales
from tasks.common.files import new_folder, write_json
from tasks.common.metrics import write_metrics
from tasks.config import Params, QuantizeParams
from tasks.data.pull import PULLED
from tasks.data.schema import split_file

VLM, QUANTIZED = Path("models/vlm"), Path("models/vlm_awq")
HEADLINE = ("agreement", "mcc.loss", "bytes.ratio")
REPORT, COSTS = Path("reports/quantize/metrics.json"), Path("reports/quantize/costs.json")


@dataclass(frozen=True)
class QuantizePaths:
    """Folders and files that are read and written.

    Attributes:
        pulled: data; `train` is calibrated on, `calibration` is what both checkpoints are run on.
        vlm: folder of the source's vlm.json, and of the model where it lies there.
        folder: takes the quantized VLM.
        report: metrics.
        costs: seconds and memory, which no two runs share.
        scales: those that a search found before, for quantize.scales: shipped.
    """

    pulled: Path = PULLED
    vlm: Path = VLM
    folder: Path = QUANTIZED
    report: Path = REPORT
    costs: Path = COSTS
    scales: Path = SHIPPED


def quantize(params: Params, paths: QuantizePaths | None = None) -> dict[str, Any]:
    """Quantize a VLM and compare the result with its source.

    Args:
        params: sections `quantize` and `vlm`.
        paths: what is read and written.

    Returns:
        The metrics, as written.

    Raises:
        QuantizeError: outside of the limits, too few samples, a tool fails, or the disk does; the quantized VLM of
            before stays.
        VlmError: the source, or what was written, cannot be loaded.
    """
    paths = paths or QuantizePaths()
    with _disk_errors():
        settings = read_settings(paths.vlm)
        check_files(paths.vlm, settings)
        if params.quantize.backend == "off" or settings.backend == "off":
            return _copy(paths)
        with new_folder(paths.folder) as partial:
            metrics, costs = _quantize_all(params, settings, partial, paths)
            seal(partial, with_own_mass(settings, params.quantize), params.quantize.memory_gib)
            write_metrics(paths.report, metrics, HEADLINE)
            write_json(paths.costs, costs)
            limits = params.quantize.limits
            refuse_outside_limits(metrics, limits, f"The checkpoint before it stays; {paths.report} has the figures")
        return metrics


def recheck(params: Params, paths: QuantizePaths | None = None) -> dict[str, Any]:
    """Compare a quantized VLM that is there with its source once more; writes nothing.

    Raises:
        QuantizeError: outside of the limits.
        VlmError: one of the two cannot be loaded.
    """
    paths = paths or QuantizePaths()
    with _disk_errors():
        settings = read_settings(paths.vlm)
        found = {
            name: examine(params, settings, folder_of(source, paths.vlm), paths.folder / name, paths.pulled)[0]
            for name, source in models(settings).items()
        }
        metrics = _flat(found)
        refuse_outside_limits(metrics, params.quantize.limits, f"{paths.folder} is not to be used")
        return metrics


def ship(params: Params, paths: QuantizePaths | None = None) -> dict[str, Any]:
    """Search the scales of the model for pictures, and keep them in `paths.scales`.

    Returns:
        Their manifest.

    Raises:
        QuantizeError: see `quantize`.
        VlmError: the source cannot be loaded.
    """
    from tasks.awq.autoawq import search_scales

    paths = paths or QuantizePaths()
    with _disk_errors():
        settings = read_settings(paths.vlm)
        source = folder_of(settings.model, paths.vlm)
        samples, counts = encoded(source, split_file(paths.pulled, "train"), settings, params.quantize)
        _set_threads(params)
        write_scales(paths.scales, search_scales(source, samples, params.quantize), source, params.quantize, counts)
        return read_manifest(paths.scales, source, params.quantize)


def backend(name: str) -> Backend:
    """The tool that searches scales."""
    if name == "llm_compressor":
        from tasks.awq import llm_compressor

        return llm_compressor.search
    from tasks.awq import autoawq

    return autoawq.search


def _quantize_all(
    params: Params, settings: VlmSettings, folder: Path, paths: QuantizePaths
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Quantize the model for pictures, and the one for clips where there is one; gives metrics and costs."""
    metrics, costs = dict[str, Any](), dict[str, Any]()
    for name, source in models(settings).items():
        target = folder / name
        target.mkdir(exist_ok=True)
        metrics[name], costs[name] = _quantize_one(params, settings, folder_of(source, paths.vlm), target, paths)
    return _flat(metrics), _flat(costs)


def _quantize_one(
    params: Params, settings: VlmSettings, source: Path, target: Path, paths: QuantizePaths
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Quantize one model into `target` and compare it with its source; gives metrics and costs."""
    start = time.monotonic()
    _set_threads(params)
    layers, counts = _scaled_layers(params.quantize, settings, source, paths)
    write(source, target, layers, params.quantize.group_size)
    ended = time.monotonic()
    metrics, peak = examine(params, settings, source, target, paths.pulled)
    seconds = {"quantize": round(ended - start, 1), "check": round(time.monotonic() - ended, 1)}
    return {"samples": counts, **metrics}, {"seconds": seconds, "peak_bytes": peak}


def _scaled_layers(
    given: QuantizeParams, settings: VlmSettings, source: Path, paths: QuantizePaths
) -> tuple[Iterator[Layer], dict[str, int]]:
    """The layers of a model with scales applied, searched for now or before, and the counts of samples."""
    if given.scales == "shipped":
        from tasks.awq.autoawq import apply

        return apply(source, paths.scales), read_manifest(paths.scales, source, given)["samples"]
    samples, counts = encoded(source, split_file(paths.pulled, "train"), settings, given)
    return backend(given.backend)(source, samples, given), counts


def _set_threads(params: Params) -> None:
    import torch

    torch.set_num_threads(params.quantize.threads)


def _copy(paths: QuantizePaths) -> dict[str, Any]:
    """The VLM unchanged, so that what follows finds it in the same place."""
    with new_folder(paths.folder) as partial:
        # content alone: DVC's files may be links to read-only ones
        shutil.copytree(paths.vlm, partial, copy_function=shutil.copyfile, dirs_exist_ok=True)
    metrics = {"off": 1}
    write_metrics(paths.report, metrics, HEADLINE)
    return metrics


def _flat(found: dict[str, Any]) -> dict[str, Any]:
    """Figures of the model for pictures, and those of the one for clips under a key of their own."""
    rest = {name: value for name, value in found.items() if name != IMAGES}
    return {**found[IMAGES], **rest}


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn errors of the disk into one message with the free space."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        free = shutil.disk_usage(Path.cwd()).free >> 20
        name = getattr(error, "filename", None)
        # safetensors gives no errno, only a text
        text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        what = f"{f'{name}: ' if name else ''}{text} ({free} MiB are free here)"
        raise QuantizeError(f"{what}; the checkpoint before it stays") from None
