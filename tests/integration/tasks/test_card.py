"""Trainings and models on a graphics card that is not there: a tensor that was left in main memory fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cascade.config.ocr import OcrParams
from tasks.config import load_params
from tests.support import tiny_vlm
from tests.support.fake_card import CardTensor, fake_card
from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:.*CUDA is not available")]
PARAMS = load_params(ROOT / "params.yaml")
PICTURES = [Image.new("RGB", (120, 90), (200, 100, 0)), Image.new("RGB", (90, 130), (0, 100, 200))]


@pytest.mark.parametrize(
    "mix",
    [
        # two values, a weight and a bias, a list of tensors, an operation in place
        lambda there, here: there + here,
        lambda there, here: torch.nn.functional.linear(there, torch.ones(3, 3), here),
        lambda there, here: torch.cat([there, here]),
        lambda there, here: there.mul_(here),
    ],
)
def test_the_card_that_is_not_there_refuses_to_mix(mix: Callable[[Any, Any], Any]) -> None:
    with fake_card() as card:
        there, here = torch.ones(3, device=card), torch.ones(3)
        with pytest.raises(RuntimeError, match="expected all tensors on the card"):
            mix(there, here)


def test_the_card_that_is_not_there_computes() -> None:
    with fake_card() as card:
        weight = torch.nn.Parameter(torch.arange(3.0).to(card))
        loss = (weight * torch.tensor(2.0)).square().sum()
        loss.backward()
        assert isinstance(weight.grad, CardTensor)
        assert weight.grad.device == card
        assert weight.grad.cpu().tolist() == [0, 8, 16]
        # a number, and an index, may come from main memory
        assert float(weight[torch.tensor([2])].cpu()) == 2
    assert type(torch.ones(2)) is torch.Tensor


def test_trial_passes_leave_no_trace(tmp_path: Path) -> None:
    from tasks.detection.weights import build
    from tasks.training.card import measured_peak
    from tests.integration.tasks.test_detect import tiny
    from tests.support.tiny_dino import write_backbone

    detector = build("yolo", tiny(), write_backbone(tmp_path))
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    with fake_card(available=True) as card:
        detector.to(card)
        pixels = torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8).to(card)
        measured_peak(detector, lambda: detector.net(pixels.permute(0, 3, 1, 2) / 255)["scores"].square().mean())
        assert all(weight.grad is None for weight in detector.parameters())
        after = {name: tensor.cpu() for name, tensor in detector.state_dict().items()}
    assert all(tensor.equal(after[name]) for name, tensor in before.items())


@pytest.mark.parametrize("kind", ["linear", "mlp", "conv"])
def test_a_head_learns(kind: str) -> None:
    from tasks.classifier.head import HeadShape, make_head
    from tasks.classifier.losses import head_loss

    given, channels, patches = PARAMS.train.model_copy(update={"head": kind, "hidden": 8}), 6, 16
    width = channels * (patches + 1) if kind == "conv" else 12
    with fake_card() as card:
        head = make_head(HeadShape(kind, width, channels, 8), given).to(card).train()
        x = torch.randn(4, width).to(card)
        head.standardize(x, 4)
        cover = torch.rand(4, patches).to(card) if kind == "conv" else None
        y = torch.tensor([0.0, 1, 0, 1]).to(card)
        head_loss(head, x, y, cover, given, torch.ones(4).to(card)).backward()
        assert all(isinstance(weight.grad, CardTensor) for weight in head.parameters())
        assert head.logits(np.ones((2, 3, width), dtype=np.float32)).shape == (2, 3)


def test_adapt_trains(tmp_path: Path) -> None:
    from tasks.adapt import adapt
    from tests.integration.tasks.test_adapt import paths_in, tiny

    paths = paths_in(tmp_path)
    with fake_card(available=True, bfloat16=False):
        adapt(tiny(steps=2, hard_repeats=2, draws=2), paths)
    assert (paths.adapted / "manifest.json").is_file()


@pytest.mark.parametrize(("name", "family"), [("yolo", "rf_detr"), ("detr", "rf_detr"), ("detr", "rt_detr")])
@pytest.mark.parametrize("micro_batch", ["auto", 3])
def test_detectors_train(name: str, family: str, micro_batch: int | str, tmp_path: Path) -> None:
    from tasks.detection.training import train_detector
    from tasks.detection.weights import build
    from tests.integration.tasks.test_detect import paths_in, tiny
    from tests.support.tiny_dino import write_backbone

    small = tiny()
    detr = small.detr.model_copy(update={"family": family, "size": 56 if family == "rf_detr" else 64, "steps": 2})
    yolo = small.yolo.model_copy(update={"steps": 2})
    card = small.card.model_copy(update={"micro_batch": micro_batch})
    params = tiny(detr=detr, yolo=yolo, card=card)
    paths = paths_in(tmp_path, write_backbone(tmp_path / "backbone"))
    detector = build(name, params, paths.backbone)
    with fake_card(available=True):
        checkpoint = train_detector(name, detector, params, PARAMS.training, paths)
    assert detector.card_bfloat16
    assert checkpoint.is_file()
    assert not any(isinstance(weight, CardTensor) for weight in detector.parameters())


def test_the_projector_of_the_vlm_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    from tasks.llava import projector
    from tasks.llava.training import targets
    from tests.integration.tasks.llava.test_training import samples

    folder = tiny_vlm.write_llava(tmp_path, side=224)
    monkeypatch.setattr(projector, "LAYER", 1)
    given = samples(2)
    model, processor = LlavaForConditionalGeneration.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    with fake_card() as card:
        learner = projector.Learner(model.to(card), processor, PARAMS.vlm)
        features, (label, cover) = learner.features(given), targets(given, learner.device)
        loss = learner.answer_loss(learner.answer(features, projector.some_patches(2, 12, [0])), label)
        (loss + learner.align_loss(features, label, cover)).backward()
        assert all(isinstance(weight.grad, CardTensor) for weight in learner.projector.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["glm46v", "glm4v", "molmo", "llava"])
def test_the_vlm_answers_and_speaks_on(name: str, tmp_path: Path) -> None:
    from cascade.vlm.local import LocalVlm
    from tests.support.vlm_settings import vlm_settings

    folder = getattr(tiny_vlm, f"write_{name}")(tmp_path)
    with fake_card(available=True):
        vlm = LocalVlm(str(folder), vlm_settings(min_mass=1.0, device="cuda"))
        vlm.load()
        answers = vlm.run(PICTURES)
    assert [answer.kind for answer in answers] == ["malformed"] * 2, answers
    assert all("said" in (answer.why or "") for answer in answers), answers
    assert len(answers[0].said) > 0


def test_florence_reads(tmp_path: Path) -> None:
    from cascade.ocr.florence import FlorenceReader
    from tests.support.florence import write_florence

    folder = write_florence(tmp_path)
    with fake_card(available=True):
        reader = FlorenceReader(folder, OcrParams(backend="florence2", device="cuda", max_tokens=8))
        assert len(reader.read(PICTURES)) == 2


def test_awq_packs_where_a_weight_lies() -> None:
    from cascade.vlm.awq import PARTS, dequantize
    from tasks.awq.packing import pack

    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(1))
    expected = pack(weight, 32)
    with fake_card() as card:
        found = pack(weight.to(card), 32)
        assert all(isinstance(found[part], CardTensor) for part in PARTS)
        assert all(found[part].cpu().equal(expected[part]) for part in PARTS)
        back = dequantize(*(found[part] for part in PARTS), 32)
        assert back.cpu().equal(dequantize(*(expected[part] for part in PARTS), 32))


@pytest.mark.slow
def test_awq_searches_and_packs_a_model(tmp_path: Path) -> None:
    from cascade.vlm import awq
    from tasks.awq import autoawq
    from tasks.awq.checkpoint import write
    from tasks.awq.samples import encoded
    from tasks.data.schema import split_file
    from tests.integration.tasks.awq.test_quantize import params
    from tests.support.calibration import digests, picture, write_split
    from tests.support.vlm_settings import vlm_settings

    folder = tiny_vlm.write_llava(tmp_path / "model")
    split = split_file(tmp_path, "train")
    write_split(split, [picture(number) for number in range(12)])
    given = params().quantize
    samples, _ = encoded(folder, split, vlm_settings(files=digests(folder)), given)
    (tmp_path / "quantized").mkdir()
    with fake_card(available=True):
        write(folder, tmp_path / "quantized", autoawq.search(folder, samples, given), given.group_size)
    assert any(name.endswith("gate_proj.weight") for name, _ in awq.tensors(tmp_path / "quantized"))


@pytest.mark.parametrize("pooling", ["none", "statistics"])
def test_features_come_back_in_order(pooling: str, tmp_path: Path) -> None:
    from tasks.classifier.backbone import Backbone
    from tasks.classifier.encoder import Encoder
    from tasks.classifier.features import Batch
    from tests.support.tiny_dino import SIZE, write_backbone

    given = PARAMS.embed.model_copy(update={"layers": (1, 2), "size": SIZE, "pooling": pooling})
    backbone = write_backbone(tmp_path / "backbone")
    random = np.random.default_rng(0)
    batches = [Batch([str(n)], random.integers(0, 255, (1, SIZE, SIZE, 3), dtype=np.uint8), {}) for n in range(3)]
    plain = Backbone(backbone, given.layers, SIZE, pooling).eval()
    with fake_card(available=True):
        found = [(batch.keys, rows) for batch, rows in Encoder(backbone, given, "float32")(batches)]
    assert [keys for keys, _ in found] == [["0"], ["1"], ["2"]]
    for (_, rows), batch in zip(found, batches, strict=True):
        assert rows.dtype == (np.float16 if pooling == "none" else np.float32)
        with torch.no_grad():
            expected = plain(torch.from_numpy(batch.pixels)).numpy()
        np.testing.assert_allclose(rows, expected, atol=0.02, rtol=0.02)
