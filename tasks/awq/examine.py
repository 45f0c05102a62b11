"""Compare a quantized checkpoint on disk with its source: weights, answers, sizes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.vlm.settings import VlmSettings
from tasks.awq.backend import QuantizeError
from tasks.awq.compare import compare, rounded, verdict
from tasks.awq.folder import CLIPS, with_own_mass
from tasks.awq.reading import CheckpointAnswers, CheckSamples, check_samples, read_local
from tasks.awq.weights import group_errors
from tasks.config import Params
from tasks.data.schema import split_file

if TYPE_CHECKING:
    from tasks.config.quantize import QuantizeLimits


def examine(
    params: Params, settings: VlmSettings, source: Path, quantized: Path, pulled: Path
) -> tuple[dict[str, Any], dict[str, int]]:
    """Compare a checkpoint on disk with its source.

    Args:
        params: sections `quantize` and `vlm`, and the prior.
        settings: of the source.
        source: folder of the model in 16 bits.
        quantized: folder of its AWQ checkpoint.
        pulled: data; both are run on the calibration split.

    Returns:
        Figures, for `tasks.awq.compare.verdict`; and the most memory, bytes, that either took.

    Raises:
        VlmError: one of the two cannot be loaded.
        QuantizeError: they are not the same architecture.
    """
    given = params.quantize
    errors = group_errors(source, quantized, given.group_size)
    samples = check_samples(split_file(pulled, "calibration"), given)
    settings = settings.model_copy(update={"threads": given.threads})
    first = _read(source, settings, samples, params)
    second = _read(quantized, with_own_mass(settings, given), samples, params)
    found = compare(first, second, settings, samples.labels, prior=params.prior)
    peak = {"source": first.peak_bytes, "quantized": second.peak_bytes}
    return {**found, "bytes": rounded(_sizes(source, quantized)), "group_error": errors}, peak


def refuse_outside_limits(metrics: dict[str, Any], limits: QuantizeLimits, consequence: str) -> None:
    """Refuse a quantized VLM one of whose models is outside of the limits.

    Raises:
        QuantizeError: names the limits, what was found, and the consequence.
    """
    for name, found in {"": metrics, f"{CLIPS}: ": metrics.get(CLIPS)}.items():
        if found and (broken := verdict(found, limits)):
            raise QuantizeError(
                f"{name}the quantized model is too far from its source: {'; '.join(broken)} (quantize.limits). "
                f"{consequence}. More quantize.samples or a finer quantize.grid may help"
            )


def _read(place: Path, settings: VlmSettings, samples: CheckSamples, params: Params) -> CheckpointAnswers:
    if params.quantize.check.reader == "vllm":
        from tasks.awq.served import read_vllm

        return read_vllm(place, settings, samples, params.vlm.server.python)
    return read_local(str(place), settings, samples)


def _sizes(source: Path, quantized: Path) -> dict[str, float]:
    before, after = (sum(path.stat().st_size for path in place.glob("*.safetensors")) for place in (source, quantized))
    return {"source": before, "quantized": after, "saved": before - after, "ratio": after / before}
