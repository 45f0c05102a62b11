"""From section `vlm` to the settings that the runtime reads beside the model."""

from __future__ import annotations

from pathlib import Path

from cascade.vlm.settings import VlmSettings
from tasks.classifier.calibration import Calibration
from tasks.common.files import sha256_file
from tasks.config import VlmParams
from tasks.config.vlm import VlmModelParams

UNSCALED = Calibration(1.0, 0.0)


def settings_of(params: VlmParams, folder: Path, scaling: Calibration) -> VlmSettings:
    """The settings of a model whose files lie in `folder` already.

    Args:
        params: section `vlm`.
        folder: its files are listed with their digests.
        scaling: of the model's log-odds.
    """
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
