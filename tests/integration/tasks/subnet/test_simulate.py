"""`simulate` against a real service, a real model folder and HTTP servers, and from the command line."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from cascade.process.ready import free_port
from tasks.subnet.axon import parse_axon
from tasks.subnet.challenge import draw_challenges, make_images
from tasks.subnet.miners import HttpMiner, Miner, MinerError
from tasks.subnet.model import ModelMiner, roadwork_index
from tasks.subnet.pictures import list_pictures
from tasks.subnet.play import Player, Rules, ask, play
from tasks.subnet.score import NO_ANSWER
from tasks.subnet.show import live_table
from tasks.tools.simulate import app
from tests.support import tiny
from tests.support.http_miner import HttpMinerServer, serving
from tests.support.paths import ROOT
from tests.support.service import served

pytestmark = pytest.mark.integration
STEPS = 60


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("service")
    with served(tiny.write_release(root), root, 18400) as url:
        yield url


@pytest.fixture(scope="module")
def http() -> Iterator[HttpMinerServer]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the layout of the subnet's base model, and random weights."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    folder = tmp_path_factory.mktemp("models") / "vit"
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = ViTConfig(**small, patch_size=32, num_labels=2, id2label={0: "None", 1: "Roadwork"})
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that the tiny classifier tells apart, in class folders."""
    folder = tmp_path_factory.mktemp("streets")
    for name, colour in (("roadwork", tiny.ORANGE), ("clear", tiny.BLUE)):
        (folder / name).mkdir()
        for shade in range(0, 120, 20):
            data = tiny.encoded(tiny.street(colour, bottom=(shade, shade, shade)))
            (folder / name / f"{shade}.jpg").write_bytes(data)
    return folder


def run(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json", "--repeats", "40"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_side_by_side(service: str, http: HttpMinerServer, vit: Path, streets: Path, tmp_path: Path) -> None:
    given = ("--url", service, "--http", http.url("/orange"), "--http", http.url("/half"), "--model", vit)
    before = http.count
    common = (*given, "--pictures", streets, "--steps", STEPS, "--out", tmp_path)
    found = run(*common)
    ours, orange, half, model = found["miners"].values()
    first, _, third, _ = found["miners"]
    assert first == f"service {service.partition('://')[2]}"
    # a service that tells the colours apart; the same answers from another program; and exactly 0.5, which is clear
    assert ours["accuracy"]["value"] > 0.95
    assert orange["mcc"]["value"] == pytest.approx(ours["mcc"]["value"], abs=0.05)
    assert (half["mcc"]["value"], half["recall"]["value"]) == (0.0, 0.0)
    assert ours["reward"]["value"] > 0.5 > model["reward"]["value"]
    assert {miner["timeouts"] for miner in found["miners"].values()} == {0}
    assert {part["challenges"] for part in ours["source"].values()} == {STEPS}
    # deterministic miners get equal bytes once; of others nothing is known, and they get all, and one to warm up
    timings = list(found["timings"].values())
    assert [one["requests"] for one in timings] == [found["views"], STEPS, STEPS, found["views"]]
    assert found["views"] < STEPS
    assert http.count - before == 2 * (STEPS + 1)
    assert min(one["p50_ms"] for one in timings) > 0
    # every pair: our service ends above the one that always says clear
    above = {tuple(pair["miners"]): pair["ends_above"] for pair in found["pairs"]}
    assert len(above) == 6
    assert above[first, third] > 0.95
    # what was printed is what was written, and the plot is there
    assert json.loads((tmp_path / "simulate.json").read_text()) == found
    assert (tmp_path / "simulate.png").read_bytes().startswith(b"\x89PNG")
    # the same seed gives the same figures, whoever stands beside it, and whether answers are kept or not
    alone = run("--url", service, "--pictures", streets, "--steps", STEPS, "--out", tmp_path, "--resend")
    assert alone["miners"][first] == ours
    assert alone["timings"][first]["requests"] == STEPS


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("/half", 0.5, ""),
        # out of range and -1 are answers, which the validator judges
        ("/high", 1.7, ""),
        ("/none", -1.0, ""),
        # too late
        ("/slow", NO_ANSWER, "timeout"),
        ("/broken", NO_ANSWER, "status 500"),
        ("/page", NO_ANSWER, "the answer is not JSON"),
        ("/list", NO_ANSWER, 'the answer has no number "prediction"'),
        ("/other", NO_ANSWER, 'the answer has no number "prediction"'),
        ("/true", NO_ANSWER, 'the answer has no number "prediction"'),
        # nobody listens
        (None, NO_ANSWER, "ConnectError"),
    ],
)
def test_every_failure_is_an_answer_of_minus_one(
    http: HttpMinerServer, path: str | None, value: float, fault: str
) -> None:
    url = http.url(path) if path else f"http://127.0.0.1:{free_port()}"

    async def asked() -> Any:
        async with HttpMiner("miner", url) as miner:
            return await ask(miner, "QUJD", 0.3)

    answer = asyncio.run(asked())
    assert answer.value == value
    assert fault in answer.fault
    assert bool(answer.fault) == bool(fault)


class Ageing(Miner):
    """Answers late from its third challenge on."""

    is_deterministic = True
    count = 0

    async def __aexit__(self, *_: object) -> None:
        pass

    async def answer(self, image: str, seconds: float) -> float:
        self.count += 1
        await asyncio.sleep(0.5 if self.count in (4, 5) else 0)
        return 0.9


def test_late_answers_are_asked_for_again_and_the_pace_is_kept(streets: Path) -> None:
    drawn = draw_challenges(list_pictures(streets), steps=1, seed=1, synthetic=0, draws=1) * 6
    images, miner, shown = make_images(streets, drawn, seed=1), Ageing("miner"), []

    def show(players: Any) -> None:
        shown.append(len(players[0].answers))

    async def played() -> list[Player]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        players = await play([miner], drawn, images, Rules(timeout=0.2, pace=0.3, keep=False), show)
        assert 1.5 <= loop.time() - start < 4
        return players

    (player,) = asyncio.run(played())
    # the first request warms up; the third and fourth challenge came late, and the next ones did not
    assert [answer.fault for answer in player.answers] == ["", "", "timeout", "timeout", "", ""]
    assert [answer.value for answer in player.answers] == [0.9, 0.9, NO_ANSWER, NO_ANSWER, 0.9, 0.9]
    assert shown == [1, 2, 3, 4, 5, 6]
    # the table that follows a run: timeouts, other errors, requests sent
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(live_table([player], 6))
    text = console.export_text()
    assert "Challenge 6 of 6" in text
    (line,) = [line for line in text.splitlines() if "miner" in line and "score" not in line]
    assert line.split()[5:8] == ["2", "0", "6"]
    # an answer that came is kept, a failure is not
    miner.count = 3
    (player,) = asyncio.run(play([miner], drawn, images, Rules(timeout=0.2), show))
    assert [answer.was_sent for answer in player.answers] == [True, True, False, False, False, False]


def test_a_model_answers_as_transformers_does(vit: Path, streets: Path) -> None:
    from transformers import pipeline

    drawn = draw_challenges(list_pictures(streets), steps=1, seed=3, synthetic=0, draws=1)
    ((_, image),) = make_images(streets, drawn, seed=3).items()

    async def asked() -> float:
        async with ModelMiner("vit", vit) as miner:
            return await miner.answer(image, 9.0)

    picture = Image.open(io.BytesIO(base64.b64decode(image)))
    scores = {one["label"]: one["score"] for one in pipeline("image-classification", model=str(vit))(picture)}
    assert asyncio.run(asked()) == pytest.approx(scores["Roadwork"], abs=1e-5)


def broken_model(folder: Path, kind: str) -> Path:
    place = folder / kind
    if kind != "missing":
        place.mkdir()
        (place / "config.json").write_text("{}" if kind == "empty" else '{"model_type": "vit"}')
    if kind == "pickle":
        (place / "pytorch_model.bin").write_bytes(b"")
    if kind == "empty":
        (place / "model.safetensors").write_bytes(b"")
    return place


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "missing: no such folder"),
        ("pickle", "weights of other formats are not read"),
        ("empty", "not an image classifier of transformers"),
    ],
)
def test_a_folder_that_is_no_model_is_named(kind: str, message: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--model", str(broken_model(tmp_path, kind)), "--steps", "4"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()[-1]) < 1000


@pytest.mark.parametrize(
    ("names", "index"),
    [
        ({0: "None", 1: "Roadwork"}, 1),
        ({0: "road work", 1: "clear"}, 0),
        # nobody says which
        ({0: "LABEL_0", 1: "LABEL_1"}, None),
        # two do
        ({0: "roadwork", 1: "construction"}, None),
    ],
)
def test_the_label_is_found_by_its_name(names: dict[int, str], index: int | None) -> None:
    if index is None:
        with pytest.raises(MinerError, match="expected one that is called Roadwork"):
            roadwork_index(Path("model"), names)
    else:
        assert roadwork_index(Path("model"), names) == index


@pytest.mark.parametrize("text", ["127.0.0.1:8091", "127.0.0.1/5F", "host:port/5F", ":8091/5F", ""])
def test_an_axon_needs_host_port_and_hotkey(text: str) -> None:
    with pytest.raises(MinerError, match="expected HOST:PORT/HOTKEY"):
        parse_axon(text)
    assert parse_axon("[::1]:8091/5F") == ("[::1]", 8091, "5F")


@pytest.mark.slow
def test_the_command_line(service: str, tmp_path: Path) -> None:
    """As a person runs it, in an empty folder: tables, sentences, files; and what there is to say without a miner."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "110"}
    start = [sys.executable, "-m", "tasks.tools.simulate"]
    sample = ["--pictures", str(ROOT / "data/sample/challenge.parquet")]

    def called(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*start, *sample, "--repeats", "20", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    done = called("--url", service, "--steps", "12")
    assert done.returncode == 0, done.stderr
    for words in ("expected reward", "score is stable after", "MCC / accuracy by level", "12 challenges of"):
        assert words in done.stdout
    assert done.stderr == ""
    assert {path.name for path in (tmp_path / "var/simulate").iterdir()} == {"simulate.json", "simulate.png"}
    nobody = called("--steps", "2")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr.startswith("simulate: no service runs here; `streetvision serve` starts one")
    gone = called("--http", f"http://127.0.0.1:{free_port()}", "--steps", "2")
    assert (gone.returncode, len(gone.stderr.splitlines())) == (1, 1)
    assert "does not answer: ConnectError" in gone.stderr
