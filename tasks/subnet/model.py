"""A model folder as a miner: an image classifier of `transformers`, such as the subnet's base ViT, in this process."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from pathlib import Path
from typing import Any, Self

from cascade.extras import require
from cascade.labelled.class_names import COMMON
from tasks.subnet.miners import Miner, MinerError


class ModelMiner(Miner):
    """Softmax score of the label roadwork, as the base miner answers (base_miner/detectors/vit_detector.py).

    Weights are read from safetensors alone: pickles run code, and so does code that a folder brings along.
    """

    is_deterministic = True

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self._folder = folder

    async def __aenter__(self) -> Self:
        """See `Miner`."""
        require("streetvision simulate --model", "torch", "transformers")
        # before torch is imported: OpenMP's threads that wait by spinning slow down the other miners of this machine
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._model, self._processor, self._roadwork = await asyncio.to_thread(load_model, self._folder)
        return self

    async def __aexit__(self, *_: object) -> None:
        """See `Miner`."""
        del self._model

    async def answer(self, image: str, seconds: float) -> float:
        """See `Miner`."""
        return await asyncio.to_thread(self._predict, image)

    def _predict(self, image: str) -> float:
        import torch
        from PIL import Image

        with Image.open(io.BytesIO(base64.b64decode(image))) as opened, torch.inference_mode():
            inputs = self._processor(images=opened.convert("RGB"), return_tensors="pt")
            logits = self._model(**inputs).logits[0]
            return float(logits.softmax(dim=-1)[self._roadwork])


def load_model(folder: Path) -> tuple[Any, Any, int]:
    """Load the model, its preprocessing, and the index of its label roadwork.

    Raises:
        MinerError: names what the folder lacks.
    """
    if not folder.is_dir():
        raise MinerError(f"{folder}: no such folder")
    if not any(folder.glob("*.safetensors")):
        raise MinerError(f"{folder}: no *.safetensors; weights of other formats are not read, since pickles run code")
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    settings: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = AutoImageProcessor.from_pretrained(folder, **settings)
        model = AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True, **settings)
    # what transformers raises for files that are missing or do not fit is not documented
    except Exception as error:
        raise MinerError(f"{folder}: not an image classifier of transformers: {error}") from None
    return model.eval(), processor, roadwork_index(folder, dict(model.config.id2label))


def roadwork_index(folder: Path, names: dict[int, str]) -> int:
    """The class that means roadwork, by its name.

    Raises:
        MinerError: none or several do.
    """
    found = [index for index, name in names.items() if COMMON.label(str(name)) == 1]
    if len(found) != 1:
        listed = ", ".join(f"{index} {name}" for index, name in sorted(names.items())[:8])
        raise MinerError(f"{folder}: its labels are {listed}; expected one that is called Roadwork (id2label)")
    return int(found[0])
