"""Backend `autoawq`: AutoAWQ 0.2.9, archived, in this environment."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.awq.backend import Encoded, Layer
from tasks.config import QuantizeParams


def search(source: Path, samples: list[Encoded], params: QuantizeParams) -> Iterator[Layer]:
    """See `tasks.awq.backend.Backend`."""
    with warnings.catch_warnings():
        # that it is archived
        warnings.simplefilter("ignore", DeprecationWarning)
        from tasks.awq.families import family
        from tasks.awq.search import Quantizer
    model = _model(source)
    tower = family(model.config)(model, model.config.model_type, False, model.config, None, None)
    # AutoAWQ collects garbage after every search; what lives now need not be scanned each time
    gc.collect()
    gc.freeze()
    try:
        yield from Quantizer(tower, samples, params).layers()
    finally:
        gc.unfreeze()


def _model(source: Path) -> Any:
    import torch
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(
        source, dtype=torch.bfloat16, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )
    return model.eval()
