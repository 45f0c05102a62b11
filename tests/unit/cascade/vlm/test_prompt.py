"""What the processor of a VLM in this process is handed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from cascade.vlm.prompt import longer, to_tensors
from cascade.vlm.settings import VlmSettings

# of a large file only what is read here
SETTINGS = VlmSettings.model_construct(prompt="Roadwork?", max_side=64, thinking=False)


class Processor:
    """Keeps what it was handed; gives pixels or none."""

    chat_template = ""

    def __init__(self, *, sees: bool = True) -> None:
        self._sees = sees

    def apply_chat_template(self, questions: list[Any], **_: Any) -> dict[str, Any]:
        """See `transformers.ProcessorMixin`."""
        self.image, self.text = questions[0][0]["content"]
        return {"input_ids": torch.zeros(1, 2), **({"pixel_values": torch.zeros(1)} if self._sees else {}), "names": []}


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        # the VLM's own question, and another one for the quantizer's samples
        (None, "Roadwork?"),
        ("What is there?", "What is there?"),
    ],
)
def test_a_large_picture_is_shrunk_for_whoever_asks(prompt: str | None, asked: str) -> None:
    processor = Processor()
    given = to_tensors(processor, [Image.new("RGB", (256, 128))], SETTINGS, prompt)
    assert (processor.image["image"].size, processor.text["text"]) == ((64, 32), asked)
    assert set(given) == {"input_ids", "pixel_values"}


def test_a_model_that_sees_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="takes no pictures"):
        to_tensors(Processor(sees=False), [Image.new("RGB", (32, 32))], SETTINGS)


def test_longer_appends_to_the_mask_too() -> None:
    given = {"input_ids": torch.tensor([[5]]), "attention_mask": torch.tensor([[1]])}
    grown = longer(given, [7, 8])
    assert (grown["input_ids"].tolist(), grown["attention_mask"].tolist()) == ([[5, 7, 8]], [[1, 1, 1]])
