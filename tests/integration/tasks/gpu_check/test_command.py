"""`python -m tasks.tools.gpu_check --device cpu --tiny`: all checks, and every way in which one can fail."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]
EVERY = (
    *("classifier", "conv head", "adapt", "yolo", "yolo training", "detr", "detr training"),
    *("vlm", "vlm clips", "ocr", "sdxl"),
)
# of this project's libraries all but those that pip brings with torch, torchvision and transformers
BEYOND = {
    *("accelerate", "av", "awq", "bittensor", "cv2", "diffusers", "diskcache", "dvc", "fastapi", "fiftyone"),
    *("matplotlib", "mlflow", "nncf", "onnx", "onnxruntime", "openvino", "pandas", "peft", "prefect"),
    *("prometheus_client", "pyarrow", "rapidocr", "ray", "ruamel", "scipy", "sklearn", "sqlalchemy", "starlette"),
    *("tensorrt", "ultralytics", "uvicorn"),
}
HIDE = """
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *given: None if name.partition(".")[0] in {hidden!r} else found(name, *given)
)
"""


def run(*arguments: str, modules: Path | None = None, device: str = "cpu", **variables: str) -> tuple[int, str]:
    """Run the command line; `modules` goes before all installed ones. Gives exit code and output, else the errors."""
    paths = [str(path) for path in (modules, ROOT) if path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-m", "tasks.tools.gpu_check", "--device", device, "--tiny", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout or done.stderr


def hide(folder: Path, hidden: set[str]) -> Path:
    """A folder whose `sitecustomize` hides modules from every interpreter that starts with it."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE.format(hidden=sorted(hidden)), encoding="utf-8")
    return folder


def test_every_check_of_the_large_profile_measures_something(tmp_path: Path) -> None:
    code, words = run("--out", str(tmp_path / "check.json"))
    found = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    ended = {row["check"]: (row["state"], row["reason"]) for row in found["checks"]}
    assert ended == dict.fromkeys(EVERY, ("ok", "")), words
    assert (code, found["passed"]) == (0, True)
    for row in found["checks"]:
        one = row["figures"]
        assert one["peak_gib"] > 0
        assert (one["step_ms"] or 0) > 0 if row["role"] == "train" else all(ms > 0 for ms in one["ms"].values())
    assert [one["key"] for one in found["claims"]] == ["memory.ram_gib"] * len(EVERY)
    # the table for people
    for text in ("tiny models", *EVERY, "not checked: vlm"):
        assert text in words


def test_a_claim_that_does_not_hold_and_a_check_that_fails_give_exit_code_1() -> None:
    """The other ways to fail are in test_run.py."""
    chosen = ["--only", "classifier", "--only", "detr"]
    code, words = run(*chosen, "--json", "--set", "memory.ram_gib=0.01", "--set", "detect.detr.repo=a/b")
    found = json.loads(words)
    assert (code, found["passed"]) == (1, False)
    classifier, detr = found["checks"]
    assert (classifier["state"], detr["state"]) == ("broken", "failed")
    assert [one["key"] for one in found["claims"] if not one["holds"]] == ["memory.ram_gib"]
    assert "UnknownModelError: no configuration of a/b" in detr["reason"]


def test_no_card() -> None:
    code, words = run(device="cuda", CUDA_VISIBLE_DEVICES="")
    assert code == 1
    assert words.startswith("gpu-check: torch ")
    assert "CUDA" in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "memory.gpu_gb=1"], "memory.gpu_gb: params.yaml has no such key"),
        (["--set", "memory.ram_gib=-1"], "memory.ram_gib"),
        (["--only", "yollo"], "no such check; this profile has classifier, conv head"),
    ],
)
def test_bad_input_is_one_message(arguments: list[str], words: str) -> None:
    code, said = run(*arguments)
    assert code == 1
    assert words in said


def test_it_runs_beside_torch_and_transformers_alone(tmp_path: Path) -> None:
    """What is not installed is a row with the command that installs it, and no failure."""
    code, words = run("--json", modules=hide(tmp_path / "hidden", BEYOND))
    found = json.loads(words)
    states = {row["check"]: row["state"] for row in found["checks"]}
    absent = {name for name, state in states.items() if state == "not installed"}
    assert absent == {"adapt", "yolo", "yolo training", "detr training", "sdxl"}, found["checks"]
    assert {state for name, state in states.items() if name not in absent} == {"ok"}, found["checks"]
    assert code == 0
    reasons = {row["check"]: row["reason"] for row in found["checks"]}
    assert "not installed: ultralytics; `uv sync" in reasons["yolo"]


def test_no_module_needs_more_when_it_is_imported() -> None:
    """Modules of a stage import its libraries inside functions, after their presence was looked at."""
    names = [f"tasks.gpu_check.{file.stem}" for file in sorted((ROOT / "tasks/gpu_check").glob("[a-z]*.py"))]
    imports = f"import importlib\nfor name in [*{names!r}, 'tasks.tools.gpu_check']: importlib.import_module(name)"
    script = HIDE.format(hidden=sorted(BEYOND)) + imports
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# modules of the standard library that Python 3.12 has no more
GONE = {"asynchat", "asyncore", "distutils", "imp", "smtpd"}


def test_nothing_of_it_is_gone_in_python_3_12() -> None:
    from tasks.common.imports import reachable

    names = [f"tasks.gpu_check.{file.stem}" for file in sorted((ROOT / "tasks/gpu_check").glob("[a-z]*.py"))]
    modules = reachable([*names, "tasks.tools.gpu_check"]).modules
    for name in modules:
        file = ROOT / f"{name.replace('.', '/')}.py"
        source = file if file.is_file() else ROOT / name.replace(".", "/") / "__init__.py"
        tree = ast.parse(source.read_text(encoding="utf-8"), feature_version=(3, 12))
        nodes = list(ast.walk(tree))
        imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not {one.partition(".")[0] for one in imported} & GONE, name
