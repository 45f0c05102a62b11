"""Runs in vLLM's environment, as a script: imports nothing of this project.

Argument: a folder with request.json: `model`, `prompts` (chat messages), `texts`, `top` (how many tokens of an answer's
first distribution), `options` of vLLM's `LLM`, and `template`, variables of the chat template. Writes answer.json:
`first`, one a prompt, with `top` (text, log-probability; likeliest first) and `ids` (log-probability by token number);
`next`, the same for the token after each text; `loss`, the mean -log p of the texts' `tokens`; `peak_bytes`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any


def main(work: Path) -> None:
    """Ask one model."""
    # in this process, so that the memory that it took can be read
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    import torch
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]

    request = json.loads((work / "request.json").read_text(encoding="utf-8"))
    llm = LLM(
        request["model"], load_format="safetensors", dtype="bfloat16", enforce_eager=True, seed=0,
        max_logprobs=request["top"], **request["options"],
    )  # fmt: skip
    answer: dict[str, Any] = {"first": [], "next": [], "loss": 0.0, "tokens": 0}
    if request["prompts"]:
        wanted = SamplingParams(max_tokens=1, temperature=0.0, logprobs=request["top"])
        for done in llm.chat(request["prompts"], wanted, chat_template_kwargs=request["template"]):
            answer["first"].append(_first(done.outputs[0].logprobs[0]))
    total = 0.0
    wanted = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, logprobs=request["top"])
    for done in llm.generate(request["texts"], wanted):
        answer["next"].append(_first(done.outputs[0].logprobs[0]))
        # the first token has none
        for number, listed in list(zip(done.prompt_token_ids, done.prompt_logprobs, strict=True))[1:]:
            total -= listed[number].logprob
            answer["tokens"] += 1
    answer["loss"] = total / max(answer["tokens"], 1)
    cuda = torch.cuda.is_available()
    # of the card what its driver counts, which torch calls reserved
    peak = torch.cuda.max_memory_reserved() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    answer["peak_bytes"] = peak
    (work / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


def _first(listed: dict[int, Any]) -> dict[str, Any]:
    likeliest = sorted(listed.items(), key=lambda one: -one[1].logprob)
    return {
        "top": [[value.decoded_token or "", value.logprob] for _, value in likeliest],
        "ids": {str(number): value.logprob for number, value in likeliest},
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
