"""Projector training on a tiny LLaVA, and the language model in the wheel."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.config import load_params
from tests.support import tiny_vlm
from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]
PARAMS = load_params(ROOT / "params.yaml").vlm


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    folder = tiny_vlm.write_llava(tmp_path_factory.mktemp("llava"), side=224)
    return LlavaForConditionalGeneration.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)


@pytest.fixture
def learner(tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    from tasks.llava import projector

    monkeypatch.setattr(projector, "LAYER", 1)
    return projector.Learner(*tiny, PARAMS)


def samples(count: int) -> list[Any]:
    from tasks.llava.projector import ProjectorSample

    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)
    return [
        ProjectorSample(picture, number % 2, random.random(256).astype(np.float32))
        for number, picture in enumerate(pixels)
    ]


def test_training_gives_the_answers_of_the_model(learner: Any, tiny: tuple[Any, Any]) -> None:
    """All patches through the learner are the model's own forward pass on the processor's inputs."""
    import torch

    from tasks.llava.projector import some_patches

    model, processor = tiny
    given = samples(2)
    content = [{"type": "image"}, {"type": "text", "text": PARAMS.prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    pictures = [Image.fromarray(sample.pixels) for sample in given]
    inputs = processor(text=[text] * 2, images=pictures, return_tensors="pt")
    with torch.no_grad():
        expected = torch.log_softmax(model(**inputs).logits[:, -1], dim=-1)
        found = learner.answer(learner.features(given), some_patches(2, 256, [0]))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_the_answer_depends_on_every_kept_patch_and_no_other(learner: Any) -> None:
    """Positions have gaps where patches are dropped; transformers takes such gaps for borders between texts."""
    import torch

    from tasks.llava.projector import some_patches

    features, keep = learner.features(samples(1)), some_patches(1, 12, [0])
    dropped = next(index for index in range(256) if index not in keep[0].tolist())
    with torch.no_grad():
        base = learner.answer(features, keep)
        for index in (int(keep[0, 0]), dropped):
            other = features.clone()
            other[0, index] += 5.0
            assert torch.equal(learner.answer(other, keep), base) == (index == dropped)


def test_a_few_steps_teach_the_answer(learner: Any) -> None:
    import torch

    from tasks.llava.projector import some_patches

    given = samples(4)
    features, label, keep = (
        learner.features(given),
        torch.tensor([sample.label for sample in given]),
        some_patches(4, 32, [1]),
    )
    frozen = [weight.clone() for weight in learner.model.model.language_model.parameters()]
    optimizer = torch.optim.Adam(learner.projector.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        loss = learner.answer_loss(learner.answer(features, keep), label)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.05
    now = learner.model.model.language_model.parameters()
    assert all(torch.equal(before, after) for before, after in zip(frozen, now, strict=True))


@pytest.mark.parametrize("killed_at", [0, 1, 20, 27])
def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path, killed_at: int) -> None:
    import torch

    from tasks.llava.training import Phase, ProjectorRun

    def begin(file: str, key: str = "k") -> ProjectorRun:
        torch.manual_seed(0)
        learner: Any = SimpleNamespace(projector=torch.nn.Linear(4, 4))
        return ProjectorRun(learner, Phase(0.01, 30, tmp_path / file, key), PARAMS.training)

    def go(run: ProjectorRun, until: int) -> dict[str, Any]:
        while run.step < until:
            run.apply(run.learner.projector(torch.full((2, 4), float(run.step))).square().mean())
            run.count()
        return {name: value.clone() for name, value in run.learner.projector.state_dict().items()}

    whole = go(begin("whole"), 30)
    go(begin("killed"), killed_at)
    again = begin("killed")
    assert again.step == killed_at // 20 * 20
    for name, value in go(again, 30).items():
        torch.testing.assert_close(value, whole[name])
    # another key: nothing of it is used
    assert begin("killed", "another").step == 0


@pytest.mark.parametrize(
    ("change", "align", "tune"),
    [
        # a loss: both phases begin anew
        ({"patch_weight": 0.4}, True, True),
        # the number of later steps: the first phase is kept
        ({"steps": 3}, False, True),
    ],
)
def test_a_phase_begins_anew_where_its_parameters_change(
    tmp_path: Path, change: dict[str, Any], align: bool, tune: bool
) -> None:
    from tasks.llava.training import phases

    before = phases(PARAMS, {}, tmp_path)
    training = PARAMS.training.model_copy(update=change)
    after = phases(PARAMS.model_copy(update={"training": training}), {}, tmp_path)
    assert [one.key != other.key for one, other in zip(before, after, strict=True)] == [align, tune]


@pytest.mark.parametrize(
    ("old", "new", "stale"), [("MIDDLE = 0.5", "MIDDLE = 0.6", True), ("MIDDLE = 0.5", "MIDDLE = 0.5  # half", False)]
)
def test_an_edited_loss_trains_anew_and_a_comment_does_not(tmp_path: Path, old: str, new: str, stale: bool) -> None:
    from tasks.llava.training import phases

    for name in ("cascade", "tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    before = phases(PARAMS, {}, tmp_path, tmp_path)
    file = tmp_path / "tasks/llava/projector.py"
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    after = phases(PARAMS, {}, tmp_path, tmp_path)
    assert [one.key != other.key for one, other in zip(before, after, strict=True)] == [stale, stale]


def test_views_repeat_by_step_and_never_by_turn(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.data.schema import ImageRow, arrow_schema
    from tasks.llava.projector import ProjectorDataset
    from tests.support.tiny import BLUE, ORANGE, encoded, street

    boxes = ({"category": "cone", "bbox": [100.0, 100.0, 120.0, 120.0]},)
    rows = [
        ImageRow(
            encoded(street(ORANGE if label else BLUE)), f"{label}{n}", label, f"{label}{n}", "p", objects=boxes * label
        )
        for label in (0, 1)
        for n in range(2)
    ]
    pq.write_table(pa.Table.from_pylist([row.to_record() for row in rows], arrow_schema()), tmp_path / "train.parquet")
    pictures = ProjectorDataset(tmp_path / "train.parquet", 7)
    first = pictures.batch(0, 8)
    assert [sample.label for sample in first] == [0, 1] * 4
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, pictures.batch(0, 8), strict=True))
    assert len({sample.pixels.tobytes() for sample in first + pictures.batch(1, 8)}) > 12
    assert max(sample.cover.max() for sample in first if sample.label) > 0.5
    assert all(sample.cover.max() == 0 for sample in first if not sample.label)


def test_language_model_of_the_wheel_completes_a_sentence() -> None:
    import torch
    from transformers import LlamaForCausalLM

    from tasks.llava import language

    file = language.open_wheel()
    weights = {f"model.{name}": torch.from_numpy(value) for name, value in language.tensors(file).items()}
    model = LlamaForCausalLM.from_pretrained(None, config=language.config(file), state_dict=weights)
    tokens = language.tokenizer(file)
    assert tokens.convert_tokens_to_ids(language.IMAGE_TOKEN) == len(tokens) - 1
    # a blank before each digit group, an accent in two tokens, a line's end
    for text in ("It's 3.14 on\n\tnaïve Tuesday", "DON'T  stop <|im_end|>"):
        assert tokens.decode(tokens(text)["input_ids"]) == text
    ids = tokens("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        assert tokens.decode(model.eval()(**ids).logits[0, -1].argmax()) == " Paris"
