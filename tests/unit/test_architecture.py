"""What holds for all code: imports point one way, and nothing heavy is loaded before it is used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from flows.dvc.deps import imported
from tests.support.paths import ROOT

FILES = sorted(file for package in ("cascade", "tasks", "flows") for file in (ROOT / package).rglob("*.py"))
# scripts of Blender's own interpreter, in an environment of its own
FILES = [file for file in FILES if "blender" not in file.parts and file != ROOT / "tasks/tools/render.py"]
NAMES = [file.relative_to(ROOT).as_posix() for file in FILES]
ABOVE = {"cascade": {"tasks", "flows", "prefect"}, "tasks": {"flows", "prefect"}, "flows": set()}
HEAVY = {
    *("torch", "torchvision", "transformers", "diffusers", "ultralytics", "awq", "openvino", "onnx", "onnxruntime"),
    *("mlflow", "dvc", "fiftyone", "ray", "sklearn", "scipy", "matplotlib", "pandas", "pyarrow", "cv2", "rapidocr"),
}


def roots(tree: ast.AST) -> set[str]:
    """First parts of all absolute imports below a node, wherever they stand."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("name", NAMES)
def test_imports_point_one_way(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    assert not roots(tree) & ABOVE[name.split("/")[0]]


def test_direction_is_seen_inside_functions_too() -> None:
    tree = ast.parse("def f():\n    from tasks.train import run\n")
    assert roots(tree) & ABOVE["cascade"]
    assert imported(tree, "cascade.x") == {"tasks.train", "tasks.train.run"}


# what a person or DVC starts; a module of torch classes may import torch as long as these reach it inside functions
ENTRIES = ["cascade.cli"] + [
    file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for file in FILES
    if '__name__ == "__main__"' in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("package", ["cascade", "tasks", "flows"])
def test_entry_points_load_nothing_heavy(package: str) -> None:
    """By the list of loaded modules, not by a clock: this is what keeps `--help` quick."""
    modules = [name for name in ENTRIES if name.split(".")[0] == package]
    assert modules
    script = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(json.dumps(sorted(set(sys.modules) & {HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("name", NAMES)
def test_file_is_short_enough_to_read(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 350
