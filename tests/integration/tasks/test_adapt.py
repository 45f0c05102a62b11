"""The step `adapt` with the real classes of transformers and peft, on a backbone three blocks deep."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.adapt import adapt, main
from tasks.classifier.lora.paths import AdaptPaths
from tasks.classifier.weights import write_manifest
from tasks.common.files import read_json, sha256_file, write_json
from tasks.config import ConfigError, Params, load_params
from tasks.data.annotated_images import AnnotatedImage, refuse_measured
from tasks.data.schema import DataError, split_file
from tests.support.drawn import dataset, row, write_parquet, write_sample
from tests.support.paths import ROOT
from tests.support.tiny_dino import HIDDEN, SIZE, write_backbone
from tests.support.training import stopped_after

pytestmark = pytest.mark.integration
PER_SPLIT = {"train": 8, "calibration": 4, "pool": 2, "challenge": 4}
LAYERS = (2, 3)


def tiny(**changes: Any) -> Params:
    """The project's parameters for that backbone; trains in a second."""
    params = load_params(ROOT / "params.yaml")
    given = {"mode": "train", "rank": 4, "frozen_blocks": 1, "steps": 4, "batch_size": 4, "threads": 1, **changes}
    return params.model_copy(
        update={
            "adapt": params.adapt.model_copy(update=given),
            "embed": params.embed.model_copy(update={"layers": LAYERS, "size": SIZE}),
        }
    )


def paths_in(root: Path) -> AdaptPaths:
    backbone = write_backbone(root / "backbone")
    (backbone / "preprocessor_config.json").write_text("{}")
    write_manifest(backbone, {"kind": "test"})
    pulled = write_sample(root / "pulled", dataset(PER_SPLIT))
    return AdaptPaths(backbone, pulled, root / "shipped", root / "work", root / "adapted")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> AdaptPaths:
    """Changes after four steps, shipped and merged; for reading only."""
    paths = paths_in(tmp_path_factory.mktemp("adapt"))
    adapt(tiny(learning_rate=0.01), paths, ship=True)
    return paths


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_only_linear_layers_of_the_blocks_in_question_change(trained: AdaptPaths) -> None:
    from safetensors.torch import load_file

    before, after = weights(trained.backbone), weights(trained.adapted)
    assert before.keys() == after.keys()
    changed = {name for name, tensor in before.items() if not tensor.equal(after[name])}
    assert changed
    for name in changed:
        # counted from 0: block 0 is frozen
        assert name.startswith(("encoder.layer.1.", "encoder.layer.2.")), name
        assert name.endswith("weight"), name
        assert "norm" not in name, name
    assert len(changed) == 2 * 6  # queries, keys, values, projection and both layers of the MLP
    # nor is anything shipped for a block that is frozen: zeros that nobody could train
    assert not any(".layer.0." in name for name in load_file(trained.shipped / "adapter_model.safetensors"))


def test_merged_weights_give_what_was_trained(trained: AdaptPaths) -> None:
    import torch
    from peft import PeftModel
    from transformers import Dinov2Model

    from tasks.classifier.backbone import Backbone

    side_by_side = PeftModel.from_pretrained(Dinov2Model.from_pretrained(trained.backbone), trained.shipped)
    pixels = torch.randint(0, 255, (2, SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        apart = Backbone(side_by_side.base_model.model.eval(), LAYERS, SIZE, "none")(pixels)
        merged = Backbone(trained.adapted, LAYERS, SIZE, "none")(pixels)
        plain = Backbone(trained.backbone, LAYERS, SIZE, "none")(pixels)
    assert torch.allclose(apart, merged, atol=1e-4)
    assert not torch.allclose(plain, merged, atol=1e-2)


def test_manifests_say_where_it_all_comes_from(trained: AdaptPaths) -> None:
    shipped, adapted = read_json(trained.shipped / "manifest.json"), read_json(trained.adapted / "manifest.json")
    assert (shipped["pictures"], shipped["layers"]) == (PER_SPLIT["train"], list(LAYERS))
    assert adapted["source"]["changes"] == shipped["files"]
    assert set(adapted["files"]) == {"config.json", "head.safetensors", "model.safetensors", "preprocessor_config.json"}
    # nothing of the machine that it was trained on
    assert str(trained.backbone) not in (trained.shipped / "adapter_config.json").read_text()


def test_raw_and_averaged_weights_stand_beside_each_other(trained: AdaptPaths) -> None:
    found = read_json(trained.shipped / "manifest.json")["weights"]
    assert found["views"] == PER_SPLIT["calibration"]
    # four steps at a high rate: the weights and their average are not the same
    assert found["raw"]["log_loss"] != found["averaged"]["log_loss"]
    assert found["sentence"].startswith("the averaged weights are kept")


def test_shipped_changes_are_merged_to_the_same_bytes(trained: AdaptPaths, tmp_path: Path) -> None:
    adapt(tiny(mode="shipped"), replace(trained, adapted=tmp_path / "again"))
    one, two = ((folder / "manifest.json").read_bytes() for folder in (trained.adapted, tmp_path / "again"))
    assert one == two


def test_off_leaves_the_backbone_as_it_is(trained: AdaptPaths, tmp_path: Path) -> None:
    # no shipped changes are needed either
    adapt(tiny(mode="off"), replace(trained, shipped=tmp_path / "none", adapted=tmp_path / "same"))
    assert (
        read_json(tmp_path / "same" / "manifest.json")["files"]
        == read_json(trained.backbone / "manifest.json")["files"]
    )


@pytest.mark.usefixtures("on_processor")
def test_a_stopped_training_goes_on_to_the_same_changes(
    trained: AdaptPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = replace(trained, shipped=tmp_path / "shipped", work=tmp_path / "work", adapted=tmp_path / "adapted")
    with stopped_after(2):
        adapt(tiny(learning_rate=0.01), paths)
    assert not paths.adapted.exists()
    capsys.readouterr()
    adapt(tiny(learning_rate=0.01), paths, ship=True)
    # the bar begins where it was left, two of four steps done
    assert "2/4" in capsys.readouterr().err
    assert read_json(paths.shipped / "manifest.json") == read_json(trained.shipped / "manifest.json")


def test_training_lowers_the_loss(trained: AdaptPaths, tmp_path: Path) -> None:
    import torch

    from tasks.classifier.lora.model import LoraBackbone, view_target
    from tasks.classifier.lora.samples import LabelledViews
    from tasks.data.annotated_images import read_annotated_images
    from tasks.training.resumable import TrainingPlan, train

    params = tiny()
    model = LoraBackbone(trained.backbone, LAYERS, SIZE, params.adapt, params.train)
    pictures = read_annotated_images([split_file(trained.pulled, "train")])
    samples = LabelledViews(pictures, seed=1, size=SIZE, cells=SIZE // 14, colour_jitter=0.35)
    shown = [samples(number) for number in range(32)]
    pixels, answers = np.stack([one.pixels for one in shown]), [view_target(one) for one in shown]
    model.standardize(pixels)

    def loss() -> float:
        with torch.no_grad():
            return float(model.eval().loss(model.prepare(torch.from_numpy(pixels)), answers))

    before = loss()
    plan = TrainingPlan(40, 8, 0.01, 7, "x", params.training)
    average = train(model, samples, plan, tmp_path / "checkpoint.safetensors", target=view_target)
    assert any(name.startswith("backbone.blocks") for name in average)
    assert not any(name.startswith("backbone.patch") for name in average)  # nothing that is frozen
    model.load_state_dict(average, strict=False)
    assert loss() < 0.8 * before


@pytest.mark.slow
@pytest.mark.usefixtures("on_processor")
def test_a_stopped_training_knows_which_pictures_were_hard_at_its_start(trained: AdaptPaths, tmp_path: Path) -> None:
    results = []
    for name in ("at once", "stopped"):
        paths = replace(trained, work=tmp_path / name, adapted=tmp_path / f"{name} adapted")
        params = tiny(start="shipped", learning_rate=0.01, hard_repeats=3)
        if name == "stopped":
            with stopped_after(2):
                adapt(params, paths)
        adapt(params, paths)
        results.append(read_json(paths.adapted / "manifest.json")["files"])
    assert results[0] == results[1]
    adapt(tiny(start="shipped", learning_rate=0.01), replace(trained, work=tmp_path / "c", adapted=tmp_path / "alike"))
    assert read_json(tmp_path / "alike" / "manifest.json")["files"] != results[0]


def test_the_hardest_of_each_label_come_more_often(
    trained: AdaptPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from tasks.classifier.lora import hardness
    from tasks.classifier.lora.model import LoraBackbone
    from tasks.classifier.lora.samples import LabelledViews
    from tasks.data.annotated_images import read_annotated_images

    params = tiny()
    model = LoraBackbone(trained.backbone, LAYERS, SIZE, params.adapt, params.train)
    model.load_changes(trained.shipped)
    with torch.no_grad():
        # one answer for all of them: clear
        model.head.answer.weight.zero_()
        model.head.answer.bias.fill_(-9.0)
    pictures = read_annotated_images([split_file(trained.pulled, "train")])
    samples = LabelledViews(pictures, seed=1, size=SIZE, cells=SIZE // 14, colour_jitter=0.35)
    label = np.array([picture.label for picture in pictures])
    losses = hardness.measure_losses(model, samples, 3, 2, params.train.box_covered)
    assert losses[label == 1].max() == pytest.approx(9, abs=0.01)  # all of its views show the works
    assert losses[label == 0].max() < 0.01
    found = losses + 0.1 * np.arange(len(losses))
    monkeypatch.setattr(hardness, "measure_losses", lambda *_: found)
    given = tiny(hard_repeats=3).adapt, params.train.box_covered
    times = np.array(hardness.times_shown(model, samples, *given, tmp_path / "hardness.f32"))
    for one in (0, 1):
        rows = np.flatnonzero(label == one)
        assert times[rows].tolist().count(3) == 1  # a quarter of four
        assert times[rows[found[rows].argmax()]] == 3
    same = hardness.times_shown(model, samples, tiny().adapt, params.train.box_covered, tmp_path / "none")
    assert same == [1] * len(pictures)


def test_a_training_can_begin_with_what_is_shipped(trained: AdaptPaths, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    paths = replace(trained, work=tmp_path / "work", adapted=tmp_path / "adapted")
    # a rate at which nothing moves: what comes out is what went in
    adapt(tiny(start="shipped", learning_rate=1e-12), paths)
    before, after = weights(trained.adapted), weights(paths.adapted)
    assert all(tensor.allclose(after[name], atol=1e-6) for name, tensor in before.items())
    heads = [load_file(folder / "head.safetensors") for folder in (trained.adapted, paths.adapted)]
    assert all(tensor.allclose(heads[1][name], atol=1e-6) for name, tensor in heads[0].items())
    # a checkpoint that began with other changes has another name
    (made,) = paths.work.glob("*/changes/manifest.json")
    assert read_json(made)["start"] == read_json(trained.shipped / "manifest.json")["files"]


def test_a_shipped_head_of_several_members_is_begun_with(trained: AdaptPaths, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from tasks.classifier.head import ConvHead, HeadShape, load_head, save_head
    from tasks.classifier.join import join_heads

    shipped, width = shutil.copytree(trained.shipped, tmp_path / "shipped"), ((SIZE // 14) ** 2 + 1) * 2 * HIDDEN
    head = load_head(shipped, HeadShape.of_params(tiny().train, width, 2 * HIDDEN))
    assert isinstance(head, ConvHead)
    save_head(join_heads([head, head], [0.5, 0.5]), shipped)
    manifest = read_json(shipped / "manifest.json")
    manifest["files"]["head.safetensors"] = sha256_file(shipped / "head.safetensors")
    write_json(shipped / "manifest.json", manifest)
    paths = replace(trained, shipped=shipped, work=tmp_path / "work", adapted=tmp_path / "adapted")
    adapt(tiny(start="shipped", learning_rate=1e-12), paths)
    before, after = (load_file(folder / "head.safetensors") for folder in (shipped, paths.adapted))
    assert all(torch.allclose(tensor, after[name], atol=1e-6) for name, tensor in before.items())
    assert len(after["score.weight"]) == 2


def test_the_start_has_its_share_in_what_comes_out(trained: AdaptPaths, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    start, whole, mixed = load_file(trained.shipped / "head.safetensors"), None, None
    for share in (0.0, 0.75):
        paths = replace(trained, work=tmp_path / f"{share}", adapted=tmp_path / f"adapted-{share}")
        adapt(tiny(start="shipped", learning_rate=0.01, start_share=share), paths)
        whole, mixed = mixed, load_file(paths.adapted / "head.safetensors")
    assert whole is not None
    assert mixed is not None
    moved = {name: (tensor - start[name]).norm() for name, tensor in whole.items()}
    left = {name: (tensor - start[name]).norm() for name, tensor in mixed.items()}
    assert max(moved.values()) > 0
    assert all(left[name] == pytest.approx(0.25 * float(moved[name]), rel=1e-3, abs=1e-5) for name in moved)


@pytest.mark.slow
def test_only_the_last_blocks_go_on_where_so_many_are_asked_for(trained: AdaptPaths, tmp_path: Path) -> None:
    paths = replace(trained, work=tmp_path / "work", adapted=tmp_path / "adapted")
    adapt(tiny(start="shipped", trained_blocks=1, draws=2, learning_rate=0.01), paths)
    before, after = weights(trained.adapted), weights(paths.adapted)
    changed = {name.split(".")[2] for name, tensor in before.items() if not tensor.equal(after[name])}
    assert changed == {"2"}
    # two views of a picture, whose tokens in front of that block are kept: (patches + 1) * channels, 16 bits each
    (rows,) = paths.work.glob("tokens-*/rows.bin")
    tokens, hidden = (SIZE // 14) ** 2 + 1, before["encoder.layer.2.norm1.weight"].shape[0]
    assert rows.stat().st_size == PER_SPLIT["train"] * 2 * tokens * hidden * 2


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 3},
        {"frozen_blocks": 0},  # one block more than there are changes for
    ],
)
def test_shipped_changes_of_another_shape_are_not_begun_with(
    change: dict[str, int], trained: AdaptPaths, tmp_path: Path
) -> None:
    paths = replace(trained, work=tmp_path / "work", adapted=tmp_path / "adapted")
    with pytest.raises(DataError, match=r"shipped: does not fit adapt\.rank, .*set adapt\.start to random"):
        adapt(tiny(start="shipped", **change), paths)


def test_attention_is_torchs_own() -> None:
    import torch

    from tasks.classifier.lora.model import _attend

    random = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(2, 3, 5, 8, generator=random, requires_grad=True) for _ in range(3))
    ours, _ = _attend(torch.nn.Identity(), query, key, value, scaling=8**-0.5)
    theirs = torch.nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    assert torch.allclose(ours, theirs, atol=1e-6)
    for one, other in zip(
        *(torch.autograd.grad(x.square().sum(), (query, key, value)) for x in (ours, theirs)), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-5)


def drop(name: str) -> Callable[[AdaptPaths], None]:
    return lambda paths: (paths.shipped / name).unlink()


def change_a_byte(paths: AdaptPaths) -> None:
    path = paths.shipped / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def another_backbone(paths: AdaptPaths) -> None:
    path = paths.backbone / "model.safetensors"
    path.write_bytes(path.read_bytes() + b" ")


def nothing(_: AdaptPaths) -> None:
    """Leave all as it is."""


@pytest.mark.parametrize(
    ("spoil", "layers", "message"),
    [
        (drop("manifest.json"), LAYERS, r"manifest\.json: no such file; `adapt\.mode: train`"),
        (drop("adapter_model.safetensors"), LAYERS, r"adapter_model\.safetensors: no such file"),
        (change_a_byte, LAYERS, r"its sha256 is not the manifest's; restore the file from git"),
        (another_backbone, LAYERS, r"made for another backbone"),
        (nothing, (1, 2), r"made for embed\.layers \[2, 3\], not \[1, 2\]"),
        (lambda paths: (paths.backbone / "manifest.json").unlink(), LAYERS, r"`dvc repro pull_weights` writes it"),
    ],
)
def test_shipped_changes_that_do_not_fit_are_refused(
    spoil: Callable[[AdaptPaths], None], layers: tuple[int, ...], message: str, trained: AdaptPaths, tmp_path: Path
) -> None:
    shutil.copytree(trained.backbone, tmp_path / "backbone")
    shutil.copytree(trained.shipped, tmp_path / "shipped")
    shutil.copytree(trained.adapted, tmp_path / "adapted")
    paths = replace(trained, backbone=tmp_path / "backbone", shipped=tmp_path / "shipped", adapted=tmp_path / "adapted")
    before = (paths.adapted / "manifest.json").read_bytes()
    spoil(paths)
    params = tiny(mode="shipped")
    asked = params.model_copy(update={"embed": params.embed.model_copy(update={"layers": layers})})
    with pytest.raises(DataError, match=message):
        adapt(asked, paths)
    assert (paths.adapted / "manifest.json").read_bytes() == before


def test_pictures_of_a_place_that_is_measured_on_are_refused(trained: AdaptPaths, tmp_path: Path) -> None:
    more = write_parquet(tmp_path / "more.parquet", [row(77, 1, "train", "place-3000").to_record()])
    with pytest.raises(DataError, match=r"1 places are in train and in calibration or challenge"):
        adapt(tiny(extra=(more,)), replace(trained, work=tmp_path / "work"))


def test_a_place_is_measured_on_though_nobody_drew_boxes_there(tmp_path: Path) -> None:
    records = [row(78, 1, "calibration", "place-77").to_record() | {"objects": []}]
    write_parquet(tmp_path / "calibration.parquet", records)
    pictures = [AnnotatedImage(b"", "a", "place-77", 1, np.zeros((0, 4)), np.zeros(0))]
    with pytest.raises(DataError, match=r"1 places are in train and in calibration or challenge, place-77"):
        refuse_measured([picture.place for picture in pictures], tmp_path)


def test_frozen_blocks_must_lie_before_what_is_read(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    file = tmp_path / "params.yaml"
    file.write_text(
        text.replace("mode: shipped              # shipped: the changes", "mode: train  #", 1).replace(
            "frozen_blocks: 1", "frozen_blocks: 9"
        )
    )
    with pytest.raises(ConfigError, match=r"adapt\.frozen_blocks: must be fewer than the first of embed\.layers"):
        load_params(file)


def test_no_space_on_the_disk_is_one_line(
    trained: AdaptPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(trained.backbone, tmp_path / "models" / "backbone")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tasks.config.load_params", lambda: tiny(mode="off"))
    monkeypatch.setattr(shutil, "copyfile", full)
    assert main([]) == 1
    assert capsys.readouterr().err == "adapt: [Errno 28] No space left on device\n"
    assert not (tmp_path / "models" / "adapted").exists()


def test_command_line_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1
    assert capsys.readouterr().err == (
        "adapt: models/backbone/manifest.json: no such file; `dvc repro pull_weights` writes it\n"
    )
