"""`streetvision doctor --gpu` by the size of the card, which a stand-in for nvidia-smi names."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasks.config import load_params
from tasks.doctor.gpu import Card
from tasks.doctor.gpu_fit import command, settings_of, usable_gib
from tasks.doctor.gpu_sizes import BOOKINGS, H100, SDXL, STAGES, TRAININGS, VLMS
from tasks.tools import doctor, profile
from tests.support.nvidia_smi import card, write_broken, write_nvidia_smi
from tests.support.paths import ROOT

PINNED = [
    f"{key}.revision={'a' * 40}"
    for key in ("pull.backbone", "pull.data", "synthesize.sdxl", "detect.detr", "vlm.model", "vlm.clip_model")
]


def ask(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, list[dict[str, str]]]:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", str(folder))
    done = CliRunner().invoke(doctor.app, ["--gpu", "--json", *arguments])
    return done.exit_code, json.loads(done.stdout)["findings"]


def test_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, found = ask(tmp_path, monkeypatch)
    (fits,) = [one for one in found if one["check"] == "what fits"]
    assert (code, fits["state"]) == (1, "error")
    assert "nvidia-smi" in fits["remedy"]
    assert "profile sample" in fits["remedy"]


def test_a_driver_that_fails_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, found = ask(write_broken(tmp_path / "bin"), monkeypatch)
    assert code == 1
    assert [(one["check"], one["state"]) for one in found] == [("GPU", "error")]
    assert "NVIDIA-SMI has failed" in found[0]["sentence"]


def test_two_questions_at_once() -> None:
    done = CliRunner().invoke(doctor.app, ["--gpu", "--miner"])
    assert (done.exit_code, "two questions" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("name", "mib", "gib", "states", "words", "batches", "offload"),
    [
        # too small for stages 1, 2 and 4 together
        ("GTX 1650", 4096, 3, ["error", "error", "error", "warning", "ok"], "serve.stages: light", (None, None), "seq"),
        # no vision-language model, and SDXL in parts
        ("RTX 3070", 8192, 7, ["warning", "ok", "ok", "ok", "ok"], "no vlm fits", (2, 4), "model"),
        # 16 GB, one of which has 15 GiB
        ("Tesla T4", 15360, 13, ["warning", "ok", "ok", "ok", "ok"], "not all at once", (6, 10), "none"),
        ("RTX 4080", 16376, 14, ["warning", "ok", "ok", "ok", "ok"], "not all at once", (6, 10), "none"),
        # 24 GB, one of which has 22.5 GiB
        ("L4", 23034, 20, ["ok"] * 5, "vlm in 4 bits 14.4 GiB", (10, 16), "none"),
        ("RTX 4090", 24564, 22, ["ok"] * 5, "vlm in 4 bits 14.4 GiB", (12, 16), "none"),
        ("RTX A6000", 49140, 44, ["ok"] * 5, "vlm in bf16 24 GiB", (16, 16), "none"),
        ("H100 80GB HBM3", 81559, 73, ["ok"] * 5, "vlm in bf16 24 GiB", (16, 16), "none"),
    ],
)
def test_what_fits_and_what_to_set(
    name: str, mib: int, gib: int, states: list[str], words: str, batches: tuple[int | None, int | None], offload: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    code, found = ask(write_nvidia_smi(tmp_path / "bin", [card(name, mib)]), monkeypatch)
    fits = [one for one in found if one["check"] == "what fits"]
    assert sorted(one["state"] for one in fits) == sorted(states)
    assert code == (1 if "error" in states else 0)
    assert any(words in f"{one['sentence']} {one['remedy']}" for one in fits)
    chosen = settings_of(Card(name, mib / 1024, mib / 1024, "580"))
    assert chosen["memory.gpu_gib"] == gib
    assert (chosen.get("detect.yolo.batch_size"), chosen.get("detect.detr.batch_size")) == batches
    assert chosen["synthesize.sdxl.offload"].startswith(offload)


def test_the_largest_of_several_cards_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = ask(write_nvidia_smi(tmp_path / "bin", [card("L4", 23034), card("H100", 81559, 60000)]), monkeypatch)
    assert any(one["sentence"].startswith("H100, 80 GiB") for one in found)


@pytest.mark.parametrize("gib", [4, 8, 16, 24, 48, 80])
def test_its_command_makes_valid_parameters(gib: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    found = Card("any", gib, gib, "580")
    words = shlex.split(command(settings_of(found)))
    assert words[:5] == ["uv", "run", "python", "-m", "tasks.tools.profile"]
    assert profile.main([*words[5:], *(part for one in PINNED for part in ("--set", one))]) == 0
    params = load_params(tmp_path / "params.yaml")
    assert params.memory.gpu_gib == usable_gib(found)
    assert all(isinstance(one, str) for one in params.vlm.server.arguments)


@pytest.mark.parametrize("training", TRAININGS, ids=lambda one: one.key)
def test_the_measured_batch_takes_what_was_measured(training: object) -> None:
    assert training.gib(training.measured_batch) == pytest.approx(training.measured_gib)  # type: ignore[attr-defined]
    # the line rises, and starts above nothing
    assert 0 < training.fixed_gib < training.gib(2) < training.gib(4)  # type: ignore[attr-defined]


def test_each_figure_has_its_source_and_the_page_has_the_measured_ones() -> None:
    sizes = [*STAGES, *VLMS, *(one.size for one in BOOKINGS), *(size for _, size in SDXL)]
    assert all(one.source for one in (*sizes, *TRAININGS))
    page = (ROOT / "docs/check-a-card.md").read_text(encoding="utf-8")
    measured = [one.gib for one in sizes if one.source == H100] + [one.measured_gib for one in TRAININGS]
    assert [
        gib for gib in measured if not re.search(rf"\b{re.escape(f'{gib:g}') if gib % 1 else f'{gib:.1f}'}", page)
    ] == []
