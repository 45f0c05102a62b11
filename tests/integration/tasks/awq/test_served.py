"""The real reader of AWQ checkpoints: vLLM's log-probabilities against those of the weights as they are unpacked here.

`STREETVISION_VLLM=/path/to/env/bin/python pytest tests/integration/tasks/awq/test_served.py`; docs/vlm.md says how
that environment is made. It takes minutes, so without the variable it is skipped. vLLM's LLaVA knows CLIP's vision
tower and not DINOv2's, so the language model of the sample's VLM takes its place.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.vlm import awq
from cascade.vlm.server import PYTHON
from tasks.awq.checkpoint import write
from tasks.awq.served import generate_with_vllm

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        not os.environ.get(PYTHON), reason=f"{PYTHON} does not name the interpreter of an environment with vLLM"
    ),
]
TEXTS = [
    "Roadworks with drums, a roadwork sign on a city road, noon, overcast.",
    "A street without roadworks: parked cars, trees, and a cyclist who waits at the lights.",
]
OPTIONS = {"max_model_len": 256, "gpu_memory_utilization": 0.5}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """SmolLM2-135M-Instruct in bfloat16, and rounded to 4 bits with groups of 64."""
    import torch
    from transformers import LlamaForCausalLM

    from tasks.llava import language

    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "awq"))
    file = language.open_wheel()
    settings = language.config(file)
    weights = {f"model.{name}": torch.from_numpy(value) for name, value in language.tensors(file).items()}
    model = LlamaForCausalLM.from_pretrained(None, config=settings, state_dict=weights, dtype=torch.bfloat16)
    model.save_pretrained(source)
    tokens = language.tokenizer(file)
    tokens.chat_template = file.metadata["tokenizer.chat_template"]
    tokens.save_pretrained(source)
    named_as_a_tower(source)
    layers = ((n, {k: v.float() for k, v in layer.state_dict().items()}) for n, layer in enumerate(model.model.layers))
    write(source, target, layers, 64)
    for folder in (source, target):
        named_as_a_language_model(folder)
    return source, target


def named_as_a_tower(folder: Path) -> None:
    """Names as inside of a vision-language model, which is what is packed."""
    rename(folder, "model.layers.", "model.language_model.layers.")


def named_as_a_language_model(folder: Path) -> None:
    """And back."""
    rename(folder, "model.language_model.layers.", "model.layers.")


def rename(folder: Path, old: str, new: str) -> None:
    from safetensors.torch import load_file, save_file

    found = load_file(folder / awq.WEIGHTS)
    save_file({name.replace(old, new): value for name, value in found.items()}, folder / awq.WEIGHTS, {"format": "pt"})


def test_vllm_reads_what_we_unpack(checkpoints: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, quantized = checkpoints
    python = Path(os.environ[PYTHON])
    theirs = generate_with_vllm(quantized, python, prompts=[], texts=TEXTS, options=OPTIONS)
    loss, tops = _ours(awq.load(quantized, torch.bfloat16), AutoTokenizer.from_pretrained(quantized))
    plain = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    plain_loss, _ = _ours(plain, AutoTokenizer.from_pretrained(source))
    seen: dict[str, Any] = {"loss": {"vllm": theirs["loss"], "unpacked": loss, "bfloat16": plain_loss}}
    gaps = []
    for first, ours in zip(theirs["next"], tops, strict=True):
        listed = {int(number): value for number, value in first["ids"].items()}
        gaps += [abs(value - float(ours[number])) for number, value in listed.items() if value > -10]
    seen["log-probability gap"] = {"mean": float(np.mean(gaps)), "worst": float(np.max(gaps)), "tokens": len(gaps)}
    with capsys.disabled():
        print(f"\n{json.dumps(seen)}")
    # the kernels sum in another order, in bfloat16
    assert theirs["loss"] == pytest.approx(loss, abs=0.05)
    assert np.mean(gaps) < 0.1
    # a checkpoint that was read wrongly would be far off; the rounding alone is nearer to its source than that
    assert abs(loss - plain_loss) < 1.0


def _ours(model: Any, tokens: Any) -> tuple[float, list[Any]]:
    """Mean loss of the texts, and log-probabilities of the token after each."""
    import torch

    total, count, tops = 0.0, 0, []
    for text in TEXTS:
        ids = torch.tensor([tokens.encode(text)])
        with torch.inference_mode():
            scores = torch.log_softmax(model.eval()(input_ids=ids).logits[0].float(), dim=-1)
        total -= float(scores[:-1].gather(1, ids[0, 1:, None]).sum())
        count += ids.shape[1] - 1
        tops.append(scores[-1])
    return total / count, tops
