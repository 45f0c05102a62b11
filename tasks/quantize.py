"""Step `quantize`: the VLM in 4 bits (AWQ), compared with its source before it takes its source's place.

`python -m tasks.quantize` reads models/vlm and writes models/vlm_awq, a VLM's folder like the first one, which
the runtime loads in the same way. Outside of quantize.limits the step fails: the report says why, and the checkpoint
that was there stays. Seconds and memory, which no two runs share, go to reports/quantize/costs.json beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from cascade.vlm.base import VlmError
from cascade.vlm.settings import SETTINGS_FILE, ModelSource, ServerSettings, VlmSettings, check_files, read_settings
from tasks.awq import check
from tasks.awq.backend import Backend, QuantizeError
from tasks.awq.checkpoint import write
from tasks.awq.samples import encoded
from tasks.awq.weights import group_errors
from tasks.common.files import new_folder, sha256_file, write_json
from tasks.config import ConfigError, Params, QuantizeParams, load_params
from tasks.data.schema import split_file

PULLED, VLM, QUANTIZED = Path("data/pulled"), Path("models/vlm"), Path("models/vlm_awq")
REPORT, COSTS = Path("reports/quantize/metrics.json"), Path("reports/quantize/costs.json")
# where the quantized models lie in their folder
IMAGES, CLIPS = ".", "clip"
QUANTIZATION = "--quantization"


def run(
    params: Params,
    *,
    pulled: Path = PULLED,
    vlm: Path = VLM,
    folder: Path = QUANTIZED,
    report: Path = REPORT,
    costs: Path = COSTS,
) -> dict[str, Any]:
    """Quantize a VLM and check what came of it.

    Args:
        params: sections `quantize` and `vlm`.
        pulled: data; `train` is calibrated on, `calibration` is asked about.
        vlm: folder of the source's vlm.json, and of the model where it lies there.
        folder: takes the quantized VLM.
        report: metrics.
        costs: seconds and memory.

    Returns:
        The metrics, as written.

    Raises:
        QuantizeError: outside of the limits, too few samples, or a tool fails; `folder` is as it was.
        VlmError: the source, or what was written, cannot be loaded.
        OSError: no space, or not readable.
    """
    settings = read_settings(vlm)
    check_files(vlm, settings)
    if params.quantize.backend == "off" or settings.backend == "off":
        return _as_it_is(vlm, folder, report)
    metrics, timed = dict[str, Any](), dict[str, Any]()
    with new_folder(folder) as partial:
        for name, source in models(settings).items():
            target = partial / name
            target.mkdir(exist_ok=True)
            metrics[name], timed[name] = _one(params, settings, folder_of(source, vlm), target, pulled)
        seal(partial, eased(settings, params.quantize))
        metrics, timed = _flat(metrics), _flat(timed)
        write_json(report, metrics)
        write_json(costs, timed)
        _refuse(metrics, params, f"The checkpoint before it stays; {report} has the figures")
    return metrics


def recheck(params: Params, *, pulled: Path = PULLED, vlm: Path = VLM, folder: Path = QUANTIZED) -> dict[str, Any]:
    """Hold a quantized VLM that is there against its source once more; writes nothing.

    Raises:
        QuantizeError: outside of the limits.
        VlmError: one of the two cannot be loaded.
    """
    settings, metrics = read_settings(vlm), dict[str, Any]()
    for name, source in models(settings).items():
        metrics[name] = examine(params, settings, folder_of(source, vlm), folder / name, pulled)[0]
    _refuse(_flat(metrics), params, f"{folder} is not to be used")
    return _flat(metrics)


def models(settings: VlmSettings) -> dict[str, ModelSource]:
    """The VLM's models by where the quantized ones lie: the one for pictures in the folder itself."""
    return {IMAGES: settings.model} | ({CLIPS: settings.clip_model} if settings.clip_model else {})


def eased(settings: VlmSettings, params: QuantizeParams) -> VlmSettings:
    """The VLM's settings with the quantized one's own `min_mass`, where quantize.min_mass gives one."""
    return settings if params.min_mass is None else settings.model_copy(update={"min_mass": params.min_mass})


def seal(folder: Path, settings: VlmSettings) -> None:
    """Write vlm.json for the models in a folder, with digests of all their files."""
    files = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != SETTINGS_FILE
    }
    clips = ModelSource(folder=CLIPS) if settings.clip_model else None
    changed = {"model": ModelSource(folder=IMAGES), "clip_model": clips, "files": files, "server": _served(settings)}
    write_json(folder / SETTINGS_FILE, settings.model_copy(update=changed).model_dump(mode="json"))


def _served(settings: VlmSettings) -> ServerSettings | None:
    """How the server is started: it sees AWQ by itself, and what quantized the source while it loaded would clash."""
    if settings.server is None:
        return None
    given = settings.server.arguments
    kept = tuple(
        word for place, word in enumerate(given) if QUANTIZATION not in (word, given[place - 1] if place else None)
    )
    return settings.server.model_copy(update={"arguments": kept})


def _flat(found: dict[str, Any]) -> dict[str, Any]:
    """Figures of the model for pictures, and those of the one for clips under a key of their own."""
    rest = {name: value for name, value in found.items() if name != IMAGES}
    return {**found[IMAGES], **rest}


def _as_it_is(vlm: Path, folder: Path, report: Path) -> dict[str, Any]:
    """The VLM unchanged, so that what follows finds it in the same place."""
    with new_folder(folder) as partial:
        shutil.copytree(vlm, partial, dirs_exist_ok=True)
    metrics = {"off": 1}
    write_json(report, metrics)
    return metrics


def _one(
    params: Params, settings: VlmSettings, source: Path, target: Path, pulled: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Quantize one model into `target`, read it again, and give what the comparison found, and what all that took."""
    import torch

    given, start = params.quantize, time.monotonic()
    torch.set_num_threads(given.threads)
    samples, counts = encoded(source, split_file(pulled, "train"), settings, given)
    write(source, target, backend(given.backend)(source, samples, given), given.group_size)
    ended = time.monotonic()
    metrics, peak = examine(params, settings, source, target, pulled)
    seconds = {"quantize": round(ended - start, 1), "check": round(time.monotonic() - ended, 1)}
    return {"samples": counts, **metrics}, {"seconds": seconds, "peak_bytes": peak}


def examine(
    params: Params, settings: VlmSettings, source: Path, quantized: Path, pulled: Path
) -> tuple[dict[str, Any], dict[str, int]]:
    """Hold a checkpoint on disk against its source.

    Returns:
        Figures, for `check.verdict`; and the most memory that either took.

    Raises:
        VlmError: one of the two cannot be loaded.
        QuantizeError: they are not the same architecture.
    """
    given = params.quantize
    errors = group_errors(source, quantized, given.group_size)
    asked = check.questions(split_file(pulled, "calibration"), given)
    settings = settings.model_copy(update={"threads": given.threads})
    asks = [(source, settings), (quantized, eased(settings, given))]
    if given.check.reader == "vllm":
        from tasks.awq.served import read_vllm

        readings = [read_vllm(place, one, asked, params.vlm.server.python) for place, one in asks]
    else:
        readings = [check.read_local(str(place), one, asked) for place, one in asks]
    sizes = [sum(path.stat().st_size for path in place.glob("*.safetensors")) for place in (source, quantized)]
    size = {"source": sizes[0], "quantized": sizes[1], "saved": sizes[0] - sizes[1], "ratio": sizes[1] / sizes[0]}
    found = check.compare(readings[0], readings[1], settings, asked.labels)
    peak = {"source": readings[0].peak_bytes, "quantized": readings[1].peak_bytes}
    return {**found, "bytes": check.rounded(size), "group_error": errors}, peak


def folder_of(source: ModelSource, vlm: Path) -> Path:
    """Where a model's files lie: its folder, or its snapshot in the Hub's cache.

    Raises:
        VlmError: there is none.
    """
    if source.folder is not None:
        return vlm / source.folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source.repo or "", revision=source.revision, local_files_only=True))
    except (OSError, ValueError) as error:
        raise VlmError(f"{source.repo}@{source.revision}: {error}; `dvc repro vlm` fetches it") from None


def backend(name: str) -> Backend:
    """The tool that searches."""
    if name == "llm_compressor":
        from tasks.awq import llm_compressor

        return llm_compressor.search
    from tasks.awq import autoawq

    return autoawq.search


def _refuse(metrics: dict[str, Any], params: Params, consequence: str) -> None:
    for name, found in {"": metrics, f"{CLIPS}: ": metrics.get(CLIPS)}.items():
        if found and (broken := check.verdict(found, params.quantize.limits)):
            raise QuantizeError(
                f"{name}the quantized model is too far from its source: {'; '.join(broken)} (quantize.limits). "
                f"{consequence}. More quantize.samples or a finer quantize.grid may help"
            )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tasks.quantize", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="only compare the checkpoint that is there with its source"
    )
    options = parser.parse_args(arguments)
    from safetensors import SafetensorError

    try:
        print((recheck if options.check else run)(load_params()))
    except (ConfigError, QuantizeError, VlmError, ValueError) as error:
        print(f"quantize: {error}", file=sys.stderr)
        return 1
    except (OSError, SafetensorError) as error:
        print(f"quantize: {_disk(error)}; the checkpoint before it stays", file=sys.stderr)
        return 1
    return 0


def _disk(error: Exception) -> str:
    """What the disk said. safetensors has no errno, only its text."""
    free = shutil.disk_usage(Path.cwd()).free >> 20
    name = getattr(error, "filename", None)
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return f"{f'{name}: ' if name else ''}{text} ({free} MiB are free here)"


if __name__ == "__main__":
    sys.exit(main())
