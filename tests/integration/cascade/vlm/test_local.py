"""The VLM in process: GLM-4.6V, Molmo2 and LLaVA of random weights, from their real classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cascade.process.card import CardMemory
from cascade.stages.vlm import VlmStage
from cascade.vlm.backend import InProcessVlm
from cascade.vlm.base import Clip, VlmError
from cascade.vlm.continuation import Continuation
from cascade.vlm.local import CLOSED_THOUGHT, LocalVlm
from cascade.vlm.prompt import longer
from cascade.vlm.reading import AnswerWords, GeneratedToken
from tests.support import tiny_vlm
from tests.support.vlm_settings import vlm_settings, write_settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PICTURES = [
    Image.new("RGB", (120, 90), (200, 100, 0)),
    Image.new("RGB", (90, 130), (0, 100, 200)),
    Image.new("RGB", (64, 64), (30, 30, 30)),
]
CLIP = Clip(tuple(Image.new("RGB", (96, 64), (shade, 50, 50)) for shade in (0, 80, 160, 240)), 2.0)
# a random model spreads its probability over all words: any mass counts as an answer
ANY = {"min_mass": 1e-4}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of the tiny models, each written once."""
    made: dict[str, Path] = {}

    def give(name: str) -> Path:
        if name not in made:
            made[name] = getattr(tiny_vlm, f"write_{name}")(tmp_path_factory.mktemp(name))
        return made[name]

    return give


def loaded(folder: Path, **changes: object) -> LocalVlm:
    vlm = LocalVlm(str(folder), vlm_settings(**changes))
    vlm.load()
    return vlm


@pytest.mark.parametrize("name", ["glm46v", "glm4v", "molmo", "llava"])
def test_pictures_are_weighed_alone_as_in_a_batch(models: Callable[[str], Path], name: str) -> None:
    vlm = loaded(models(name), **ANY, batch_size=4)
    together = vlm.run(PICTURES)
    alone = [vlm.run([picture])[0] for picture in PICTURES]
    assert [answer.kind for answer in together] == ["answered"] * 3
    # they see the picture: other pixels, another answer
    assert len({round(answer.logit or 0.0, 5) for answer in together}) == 3
    for one, other in zip(together, alone, strict=True):
        assert one.logit == pytest.approx(other.logit, abs=0.05)


@pytest.mark.parametrize("name", ["glm46v", "glm4v", "molmo"])
def test_clips(models: Callable[[str], Path], name: str) -> None:
    vlm = loaded(models(name), **ANY)
    first, second, still = vlm.run([CLIP, Clip(CLIP.frames[:1] * 4, 2.0), PICTURES[0]])
    assert {first.kind, second.kind, still.kind} == {"answered"}
    assert first.logit != second.logit


@pytest.mark.parametrize("name", ["glm46v", "glm4v", "molmo", "llava"])
def test_prose_is_malformed(models: Callable[[str], Path], name: str) -> None:
    (answer,) = loaded(models(name), min_mass=0.9).run(PICTURES[:1])
    assert (answer.kind, answer.logit) == ("malformed", None)


def spoken_anew(vlm: LocalVlm, item: Image.Image | Clip) -> list[int]:
    """Ids that the model gives greedily where each of them is a pass over the whole question."""
    import torch

    inputs, said = vlm._inputs([item]), list[int]()
    while len(said) < 4:
        with torch.inference_mode():
            said.append(int(vlm._model(**inputs, logits_to_keep=1, use_cache=False).logits[0, -1].argmax()))
        inputs = longer(inputs, said[-1:])
    return said


@pytest.mark.parametrize("name", ["glm46v", "glm4v", "molmo", "llava"])
@pytest.mark.parametrize("together", [True, False])
def test_what_follows_the_first_token_is_that_of_a_whole_pass(
    models: Callable[[str], Path], name: str, together: bool
) -> None:
    """Pictures of three shapes, so that a batch is padded; the question is read once, and then each token alone."""
    vlm = loaded(models(name), min_mass=1.0, batch_size=4)
    # random weights speak in words; only their markers would end an answer
    vlm._words = AnswerWords(("nothing",), ("nothing",), 1.0)
    passes: list[int] = []
    vlm._model.register_forward_pre_hook(
        lambda _, __, given: passes.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    said = speaking(vlm)
    vlm.run(PICTURES) if together else [vlm.run([picture]) for picture in PICTURES]
    expected = [spoken_anew(vlm, picture) for picture in PICTURES]
    assert said == expected
    first = 1 if together else len(PICTURES)
    assert sorted(passes[: first + 3 * len(PICTURES)])[: 3 * len(PICTURES)] == [1] * (3 * len(PICTURES))


@pytest.mark.parametrize("name", ["glm46v", "glm4v", "molmo"])
def test_a_clip_is_read_once_too(models: Callable[[str], Path], name: str) -> None:
    vlm = loaded(models(name), min_mass=1.0)
    said = speaking(vlm)
    vlm.run([CLIP])
    assert said == [spoken_anew(vlm, CLIP)]


def test_a_thought_is_closed_in_one_pass(models: Callable[[str], Path]) -> None:
    """Several tokens at once behind the cache give what a pass over all of them gives."""
    import torch

    vlm = loaded(models("glm46v"), **ANY)
    inputs = vlm._inputs(PICTURES[:2])
    closed = vlm._processor.tokenizer.encode(CLOSED_THOUGHT, add_special_tokens=False)
    assert len(closed) > 1
    with torch.inference_mode():
        _, cache = vlm._scores(inputs)
        rests = [Continuation.of_row(vlm._model, inputs, cache, row) for row in (1, 0)]
        found = [vlm._scores(rest.inputs(closed))[0][0] for rest in rests]
        for row, picture in zip(found, [PICTURES[1], PICTURES[0]], strict=True):
            whole, _ = vlm._scores(longer(vlm._inputs([picture]), closed))
            torch.testing.assert_close(row, whole[0], atol=0.05, rtol=0.05)


def speaking(vlm: LocalVlm) -> list[list[int]]:
    """The tokens of each answer, as it is spoken from now on."""
    said: list[list[int]] = []
    go_on, greedy = vlm._go_on, vlm._greedy

    def begin(*given: Any) -> Any:
        said.append([])
        return go_on(*given)

    def note(scores: Any) -> Any:
        _, number = greedy(scores)
        said[-1].append(number)
        # no token ends the answer, or says anything
        return GeneratedToken("<|x|>", {"<|x|>": -1e-6}), number

    vlm._go_on, vlm._greedy = begin, note  # type: ignore[method-assign]
    return said


def test_model_that_cannot_see_clips_fails_with_a_reason(models: Callable[[str], Path]) -> None:
    (answer,) = loaded(models("llava"), **ANY).run([CLIP])
    assert answer.kind == "failed"
    assert answer.why


@pytest.mark.parametrize(("thinking", "closed"), [(False, True), (True, False)])
def test_template_closes_the_thought(models: Callable[[str], Path], thinking: bool, closed: bool) -> None:
    vlm = loaded(models("glm46v"), **ANY, thinking=thinking)
    ids = vlm._inputs(PICTURES[:1])["input_ids"][0].tolist()
    text = vlm._processor.tokenizer.decode(ids)
    assert ("</think>" in text, "/nothink" in text) == (closed, closed)


def test_no_time_left(models: Callable[[str], Path]) -> None:
    answers = loaded(models("llava"), **ANY, time_limit_seconds=1e-6, batch_size=1).run(PICTURES)
    assert {answer.kind for answer in answers[1:]} == {"timeout"}


def test_closed_vlm_abstains(models: Callable[[str], Path]) -> None:
    vlm = loaded(models("llava"), **ANY)
    vlm.close()
    assert vlm.run(PICTURES[:1])[0].kind == "failed"
    vlm.load()
    assert vlm.run(PICTURES[:1])[0].kind == "answered"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        # no weights; weights in a pickle only; code of its own; words that are no token of it
        (lambda folder: (folder / "model.safetensors").unlink(), "not a model"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "not a model"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "unheard-of"}'), "not a model"),
    ],
)
def test_model_that_cannot_be_loaded(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    folder = tiny_vlm.write_llava(tmp_path)
    spoil(folder)
    with pytest.raises(VlmError, match=message):
        LocalVlm(str(folder), vlm_settings()).load()


def test_words_that_are_no_token(models: Callable[[str], Path]) -> None:
    with pytest.raises(VlmError, match="yes_words"):
        loaded(models("llava"), yes_words=["affirmative"])


def test_stage_gives_calibrated_outcomes(models: Callable[[str], Path], tmp_path: Path) -> None:
    source = {"folder": str(models("llava"))}
    stage = VlmStage(write_settings(tmp_path, model=source, scaling={"a": 2.0, "b": 0.5}, **ANY))
    stage.load()
    seen = stage.predict(PICTURES)
    raw = seen[0].detail["logit"]
    assert isinstance(raw, float)
    assert seen[0].probability == pytest.approx(1 / (1 + math.exp(-2 * raw - 0.5)), abs=1e-4)
    assert stage.memory_bytes > 0
    assert stage.counts == {"answered": 3}
    assert stage.predict_clips([CLIP])[0].skipped == "off"
    stage.close()


def test_on_a_card_the_largest_batch_is_measured(
    models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On torch's device `meta`, which computes nothing, with a driver that counts 3 GiB more afterwards."""
    counts, returned = [CardMemory(2 << 30, 24 << 30), CardMemory(5 << 30, 24 << 30)], list[bool]()
    monkeypatch.setattr("cascade.process.memory.card_memory", lambda *_: counts.pop(0))
    monkeypatch.setattr("cascade.vlm.local.return_unused", lambda: returned.append(True))
    vlm = LocalVlm(str(models("llava")), vlm_settings(**ANY, batch_size=3, max_side=64))
    vlm.device = "meta"  # type: ignore[assignment]
    guarded, seen = vlm._guarded, list[tuple[int, tuple[int, int]]]()
    monkeypatch.setattr(vlm, "_guarded", lambda items: seen.append((len(items), items[0].size)) or guarded(items))
    vlm.load()
    assert seen == [(1, (224, 224)), (3, (64, 64))]
    assert (vlm.memory_bytes, counts) == (3 << 30, [])
    vlm.close()
    assert returned == [True]


def test_the_model_for_clips_is_loaded_and_measured_with_the_other(
    models: Callable[[str], Path], tmp_path: Path
) -> None:
    source = {"folder": str(models("llava"))}
    alone, both = (
        InProcessVlm(tmp_path, vlm_settings(model=source, clip_model=clip, **ANY)) for clip in (None, source)
    )
    for backend in (alone, both):
        backend.load()
    assert both._clips is not None
    # the process may grow by less than a model's weights, whose size is the least that is booked
    weights = sum(one.numel() * one.element_size() for one in both._clips._model.parameters())
    assert both._clips.memory_bytes >= weights
    assert alone.memory_bytes >= weights
    assert both.memory_bytes == both._images.memory_bytes + both._clips.memory_bytes
    alone.close()
    both.close()
