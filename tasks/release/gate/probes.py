"""Probes of a release by itself: is the served engine the trained model, and do harmless changes turn answers?"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cascade.engines.base import EngineError
from cascade.engines.classifier import load_engine
from cascade.preprocess.tta import Tta, run_with_tta
from cascade.probability import sigmoid
from cascade.release.store import Release, read_classifier
from tasks.common.files import read_json
from tasks.config import Params
from tasks.config.gate import GateInvarianceParams
from tasks.release.gate.challenge import Challenge, spread_pixels
from tasks.release.gate.report import Check
from tasks.release.gate.store import entry_file, kept_json

if TYPE_CHECKING:
    from cascade.engines.classifier import ClassifierEngine

Pixels = NDArray[np.uint8]
PARITY = "parity.json"


def probe(release: Release, challenge: Challenge, params: Params) -> tuple[Check, ...]:
    """Measure parity and invariance of a release, or take them out of the cache.

    Raises:
        EngineError: the engine cannot be run.
    """
    given = {"probe": params.gate.invariance, "seed": params.validate_.seed, "batch": params.validate_.batch}
    file = entry_file(
        params.gate.store, "probes", release, modules=[__name__], inputs={"challenge": challenge.file}, params=given
    )
    found = kept_json(file, lambda: _measure(release, challenge, params))
    limit = params.gate.invariance.max_flipped
    turned = [_check("invariance", name, share, limit) for name, share in found["flipped"].items()]
    gap = _check("parity", "served engine against fp32", found["parity"], params.gate.max_parity_gap)
    return (*recorded_parity(release), gap, *turned)


def recorded_parity(release: Release) -> tuple[Check, ...]:
    """What the export stage measured of each engine against torch, with its limit; none where it recorded none."""
    try:
        document = read_json(release.folder / PARITY)
        rows = {name: float(one["max_probability_gap"]) for name, one in document.get("engines", {}).items()}
        limit = float(document["limit"]) if rows else 0.0
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return (Check(check="parity", name=f"{PARITY} of the release", value=None, limit=0.0, kept=False),)
    return tuple(_check("parity", f"{name} against torch, by the export", gap, limit) for name, gap in rows.items())


def changed_views(pixels: Pixels, params: GateInvarianceParams) -> dict[str, Pixels]:
    """Give the harmless changes of views (n, size, size, 3), by name."""
    return {
        "mirrored": np.ascontiguousarray(pixels[:, :, ::-1]),
        f"JPEG quality {params.jpeg_quality}": np.stack([_encoded_again(one, params.jpeg_quality) for one in pixels]),
        "darker": _scaled(pixels, 1 - params.brightness),
        "brighter": _scaled(pixels, 1 + params.brightness),
    }


def _measure(release: Release, challenge: Challenge, params: Params) -> dict[str, object]:
    pixels = spread_pixels(challenge, release, params.gate.invariance.views, seed=params.validate_.seed)
    settings = read_classifier(release.folder)
    engine = load_engine(release.folder, settings.engine, settings.precision, settings.threads)
    try:
        batch, tta = params.validate_.batch, settings.tta
        said = _answers(engine, pixels, tta, batch)
        flipped = {
            name: float(np.mean(_answers(engine, views, tta, batch) != said))
            for name, views in changed_views(pixels, params.gate.invariance).items()
        }
        return {"flipped": flipped, "parity": _gap(release, engine, pixels, batch)}
    finally:
        engine.close()


def _answers(engine: ClassifierEngine, pixels: Pixels, tta: Tta | None, batch: int) -> NDArray[np.bool_]:
    parts = [run_with_tta(engine.run, pixels[at : at + batch], tta).logit for at in range(0, len(pixels), batch)]
    return np.concatenate(parts) > 0


def _gap(release: Release, engine: ClassifierEngine, pixels: Pixels, batch: int) -> float | None:
    """Largest difference of a probability between the served engine and the unquantized graph in ONNX Runtime.

    None where that graph cannot be run, which counts as a failure.
    """
    if (engine.name, engine.precision) == ("onnxruntime", "fp32"):
        return 0.0
    try:
        reference = load_engine(release.folder, "onnxruntime", "fp32", read_classifier(release.folder).threads)
    except EngineError:
        return None
    try:
        parts = [pixels[at : at + batch] for at in range(0, len(pixels), batch)]
        return max(float(np.abs(sigmoid(engine.run(one)) - sigmoid(reference.run(one))).max()) for one in parts)
    finally:
        reference.close()


def _check(check: str, name: str, value: float | None, limit: float) -> Check:
    return Check(check=check, name=name, value=value, limit=limit, kept=value is not None and value <= limit)


def _scaled(pixels: Pixels, factor: float) -> Pixels:
    scaled: Pixels = np.clip(np.rint(pixels.astype(np.float32) * factor), 0, 255).astype(np.uint8)
    return scaled


def _encoded_again(pixels: Pixels, quality: int) -> Pixels:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        return np.array(image.convert("RGB"), dtype=np.uint8)
