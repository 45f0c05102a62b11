"""`python -m tasks.tools.gpu_check --device cpu --tiny`: all checks, and every way in which one can fail."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]
EVERY = (
    *("classifier", "adapt", "yolo", "yolo training", "detr", "detr training"),
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
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


def run(
    *arguments: str, modules: Path | None = None, device: str = "cpu", **variables: str
) -> tuple[int, dict[str, Any], str]:
    """Run the command line; `modules` goes before all installed ones."""
    paths = [str(path) for path in (modules, ROOT) if path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-m", "tasks.tools.gpu_check", "--device", device, "--tiny", "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def hide(folder: Path, hidden: set[str]) -> Path:
    """A folder whose `sitecustomize` hides modules from every interpreter that starts with it."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE.format(hidden=sorted(hidden)), encoding="utf-8")
    return folder


def test_every_check_of_the_large_profile_measures_something(tmp_path: Path) -> None:
    code, found, words = run("--out", str(tmp_path / "check.json"))
    ended = {row["check"]: (row["state"], row["reason"]) for row in found["checks"]}
    assert ended == dict.fromkeys(EVERY, ("ok", "")), words
    assert (code, found["passed"]) == (0, True)
    figures = {row["check"]: row["figures"] for row in found["checks"]}
    for row in found["checks"]:
        one = figures[row["check"]]
        assert one["peak_gib"] > 0
        assert (one["step_ms"] or 0) > 0 if row["role"] == "train" else all(ms > 0 for ms in one["ms"].values())
    assert {one["key"] for one in found["claims"]} == {
        *("memory.ram_gib", "serve.deadline_seconds"),
        *(f"timeouts.{stage}" for stage in ("classifier", "detectors", "vlm", "ocr")),
    }
    assert json.loads((tmp_path / "check.json").read_text()) == found


def test_it_is_a_table_for_people() -> None:
    command = [sys.executable, "-m", "tasks.tools.gpu_check", "--device", "cpu", "--tiny", "--only", "classifier"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    for words in ("tiny models", "classifier", "ok", "not checked: vlm"):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("stub", "arguments", "state", "reason"),
    [
        # a claim that does not hold
        (None, ["--set", "memory.ram_gib=0.01"], "broken", ""),
        # a crash, as in a driver's library
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", [], "failed", "ended by SIGSEGV, while building"),
        # too little main memory
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", [], "failed", "ended by SIGKILL: the kernel"),
        # a library that ends the process
        ("import os; print('bad licence', flush=True); os._exit(3)", [], "failed", "exit code 3 and without a result"),
        ("import os; print('bad licence', flush=True); os._exit(3)", [], "failed", "it wrote: bad licence"),
        # a hang, with a process of its own
        (
            "import subprocess, time; subprocess.Popen(['sleep', '321']); time.sleep(300)",
            ["--limit", "15"], "failed", "no result after 15 s, while building the detector",
        ),
        ("raise RuntimeError('no kernel image')", [], "failed", "RuntimeError: no kernel image (while building"),
        ("import torch; raise torch.OutOfMemoryError('20 GiB')", [], "failed", "out of GPU memory: 20 GiB"),
        # the run's time is over before it begins
        (None, ["--seconds", "1"], "not run", "the time of the whole run was over"),
        # no configuration
        (None, ["--set", "detect.detr.repo=a/b", "--only", "detr"], "failed", "no configuration of a/b"),
    ],
)  # fmt: skip
def test_a_check_that_fails_is_a_row(
    stub: str | None, arguments: list[str], state: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "ultralytics").mkdir()
    if stub:
        (tmp_path / "ultralytics/__init__.py").write_text(stub, encoding="utf-8")
    chosen = [] if "--only" in arguments else ["--only", "yolo"]
    code, found, _ = run(*chosen, *arguments, modules=tmp_path if stub else None)
    (row,) = found["checks"]
    assert (code, row["state"]) == (1, state), row
    assert reason in row["reason"]
    assert "sleep 321" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_no_card() -> None:
    code, found, words = run(device="cuda", CUDA_VISIBLE_DEVICES="")
    assert (code, found) == (1, {})
    assert words.startswith("gpu-check: torch ")
    assert "CUDA" in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "memory.gpu_gb=1"], "memory.gpu_gb: params.yaml has no such key"),
        (["--set", "memory.ram_gib=-1"], "memory.ram_gib"),
        (["--only", "yollo"], "no such check; this profile has classifier, adapt"),
    ],
)
def test_bad_input_is_one_message(arguments: list[str], words: str) -> None:
    code, found, said = run(*arguments)
    assert (code, found) == (1, {})
    assert words in said


def test_it_runs_beside_torch_and_transformers_alone(tmp_path: Path) -> None:
    """What is not installed is a row with the command that installs it, and no failure."""
    code, found, words = run(modules=hide(tmp_path / "hidden", BEYOND))
    states = {row["check"]: row["state"] for row in found["checks"]}
    absent = {name for name, state in states.items() if state == "not installed"}
    assert absent == {"adapt", "yolo", "yolo training", "detr training", "sdxl"}, (found["checks"], words)
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
