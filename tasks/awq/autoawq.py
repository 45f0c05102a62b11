"""Backend `autoawq`: AutoAWQ 0.2.9, archived, in this environment."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.awq.backend import Encoded, Layer
from tasks.awq.scales import Scales, read_scales
from tasks.config import QuantizeParams


def search(source: Path, samples: list[Encoded], params: QuantizeParams) -> Iterator[Layer]:
    """See `tasks.awq.backend.Backend`."""
    with _searching(source, samples, params) as quantizer:
        yield from quantizer.layers()


def search_scales(source: Path, samples: list[Encoded], params: QuantizeParams) -> Scales:
    """The same search, of which the scales are kept and not the layers."""
    with _searching(source, samples, params) as quantizer:
        for _ in quantizer.layers():
            pass
        found: Scales = quantizer.found
        return found


def apply(source: Path, folder: Path) -> Iterator[Layer]:
    """Give the layers of `search` from the scales that one found before.

    Args:
        source: folder of the model in 16 or 32 bits; it is not written to.
        folder: of the scales, whose manifest was read.

    Raises:
        QuantizeError: the scales do not fit the model's layers.
    """
    tower = _tower(source)
    from tasks.awq.search import scaled_layers

    yield from scaled_layers(tower, read_scales(folder, tower.scaled))


@contextmanager
def _searching(source: Path, samples: list[Encoded], params: QuantizeParams) -> Iterator[Any]:
    tower = _tower(source)
    from tasks.awq.search import Quantizer

    # AutoAWQ collects garbage after every search; what lives now need not be scanned each time
    gc.collect()
    gc.freeze()
    try:
        yield Quantizer(tower, samples, params)
    finally:
        gc.unfreeze()


def _tower(source: Path) -> Any:
    with warnings.catch_warnings():
        # that it is archived
        warnings.simplefilter("ignore", DeprecationWarning)
        from tasks.awq.families import family
    model = _model(source)
    return family(model.config)(model, model.config.model_type, False, model.config, None, None)


def _model(source: Path) -> Any:
    import torch
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(
        source, dtype=torch.bfloat16, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )
    return model.eval()
