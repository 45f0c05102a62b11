"""The check through vLLM: what really reads the checkpoint in service, with its own kernels for 4-bit weights."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.process.supervisor import run
from cascade.vlm.base import VlmAnswer
from cascade.vlm.pictures import as_content
from cascade.vlm.reading import AnswerWords, GeneratedToken, read
from cascade.vlm.server import PYTHON
from cascade.vlm.settings import VlmSettings
from tasks.awq.backend import QuantizeError
from tasks.common.files import read_json, write_json

if TYPE_CHECKING:
    from tasks.awq.reading import CheckpointAnswers, CheckSamples

SCRIPT = Path(__file__).parent / "foreign/generate.py"
SHOWN = 800
# of the distribution of the first token
TOP = 1000
# share of the card: the check has it for itself, and a source in 16 bits needs more than the service sets aside
ALONE = 0.9


def read_vllm(place: Path, settings: VlmSettings, samples: CheckSamples, python: Path | None) -> CheckpointAnswers:
    """Run a checkpoint in vLLM's environment; a process of its own, so that its memory is given back.

    Args:
        place: folder of the model.
        settings: of the VLM.
        samples: pictures and texts.
        python: `vlm.server.python`; STREETVISION_VLLM goes before it.

    Raises:
        QuantizeError: there is no such environment, or vLLM fails.
    """
    from tasks.awq.reading import CheckpointAnswers

    prompts = [_messages(settings, as_content(picture.image, settings.max_side)) for picture in samples.pictures]
    server = settings.server
    found = generate_with_vllm(
        place, python, prompts=prompts, texts=samples.texts,
        options={
            "max_model_len": server.max_model_len if server else 4096,
            "gpu_memory_utilization": (server.gpu_memory_utilization if server else None) or ALONE,
        },
        template={"enable_thinking": settings.thinking},
    )  # fmt: skip
    words = AnswerWords(settings.yes_words, settings.no_words, settings.min_mass)
    answers = [_answer(first, words) for first in found["first"]]
    scores = _rows([first["ids"] for first in found["first"][: samples.logit_images]])
    return CheckpointAnswers(scores, answers, found["loss"], found["peak_bytes"])


def generate_with_vllm(
    place: Path,
    python: Path | None,
    *,
    prompts: list[Any],
    texts: list[str],
    options: dict[str, Any],
    template: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run tasks/awq/foreign/generate.py; see there for what goes in and comes out.

    Raises:
        QuantizeError: there is no such environment, or vLLM fails.
    """
    named = os.environ.get(PYTHON) or python
    if named is None or not Path(named).is_file():
        raise QuantizeError(f"vlm.server.python or {PYTHON} must name an interpreter with vLLM; docs/vlm.md")
    with tempfile.TemporaryDirectory(prefix="awq-") as name:
        work = Path(name)
        wanted = {"model": str(place.resolve()), "prompts": prompts, "texts": texts, "top": TOP}
        write_json(work / "request.json", {**wanted, "options": options, "template": template or {}})
        surroundings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        done = run([str(named), str(SCRIPT), str(work)], env={**surroundings, "HF_HUB_OFFLINE": "1"})
        if done.returncode or not (work / "answer.json").is_file():
            raise QuantizeError(f"{place}: vLLM ended with code {done.returncode}: {done.stdout.strip()[-SHOWN:]}")
        found: dict[str, Any] = read_json(work / "answer.json")
    return found


def _messages(settings: VlmSettings, content: dict[str, Any]) -> list[dict[str, Any]]:
    """The prompt as the VLM's server gets it."""
    return [{"role": "user", "content": [content, {"type": "text", "text": settings.prompt}]}]


def _answer(first: dict[str, Any], words: AnswerWords) -> VlmAnswer:
    top: dict[str, float] = {}
    for text, value in first["top"]:
        # two tokens may read the same; the likelier comes first
        top.setdefault(text, value)
    return read([GeneratedToken(first["top"][0][0], top)], words)


def _rows(listed: list[dict[str, float]]) -> NDArray[np.float32]:
    """Log-probabilities by token number, (pictures, tokens), NaN where vLLM did not list a token."""
    size = 1 + max(int(number) for row in listed for number in row)
    scores = np.full((len(listed), size), np.nan, dtype=np.float32)
    for place, row in enumerate(listed):
        for number, value in row.items():
            scores[place, int(number)] = value
    return scores
