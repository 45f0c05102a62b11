"""What holds for all code: imports point one way and form no circle, and nothing heavy is loaded before it is used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import pytest

from tasks.common.imports import imported
from tests.support.paths import ROOT

FILES = sorted(file for package in ("cascade", "deploy", "tasks", "flows") for file in (ROOT / package).rglob("*.py"))
# scripts of Blender's own interpreter, in an environment of its own
SCRIPTS = {ROOT / "tasks/tools/render.py", ROOT / "tasks/tools/cutouts.py"}
FILES = [file for file in FILES if "blender" not in file.parts and file not in SCRIPTS]
NAMES = [file.relative_to(ROOT).as_posix() for file in FILES]
ABOVE = {
    "cascade": {"deploy", "tasks", "flows", "prefect"},
    "deploy": {"tasks", "flows", "prefect"},
    "tasks": {"flows", "prefect"},
    "flows": set(),
}
HEAVY = {
    *("torch", "torchvision", "transformers", "diffusers", "ultralytics", "awq", "openvino", "onnx", "onnxruntime"),
    *("mlflow", "dvc", "fiftyone", "ray", "sklearn", "scipy", "matplotlib", "pandas", "pyarrow", "cv2", "rapidocr"),
    *("bittensor", "bittensor_wallet"),
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


def package_imports(sources: Mapping[str, str]) -> dict[str, dict[str, set[str]]]:
    """Give who imports whom among the packages of one level, and where.

    Imports inside functions and under TYPE_CHECKING count. A module at the top of a level counts as a package.

    Args:
        sources: source text by dotted name of the module, all of one level, such as `cascade.api.app`.

    Returns:
        By importing package, by imported package: "module -> name" of each import.
    """
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module, source in sources.items():
        level, package = module.split(".")[:2]
        for name in imported(ast.parse(source), module):
            parts = name.split(".")
            if parts[0] == level and len(parts) > 1 and parts[1] != package:
                found[package][parts[1]].add(f"{module} -> {name}")
    return found


def circle(sources: Mapping[str, str]) -> list[str]:
    """Give the imports that close a circle of packages; empty where there is none."""
    imports = package_imports(sources)
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        names = error.args[1]
        # graphlib lists a circle from the imported package to the importing one
        return [min(imports[importer][name]) for name, importer in pairwise(names)]
    return []


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        # one direction only, inside one package, and to another level
        ({"cascade.a.x": "import cascade.b.y", "cascade.b.y": "import tasks.a\nfrom cascade.b import z"}, 0),
        # at the top of both modules
        ({"cascade.a.x": "import cascade.b.y", "cascade.b.y": "from cascade.a import x"}, 2),
        # inside a function, relative, and under TYPE_CHECKING
        ({"cascade.a.x": "def f():\n    from ..b import y", "cascade.b.y": "if T:\n    import cascade.a.x"}, 2),
        # by way of a third package, and through a module at the top
        ({"cascade.a.x": "import cascade.b", "cascade.b.y": "import cascade.c", "cascade.c": "import cascade.a.x"}, 3),
    ],
)
def test_circles_are_seen(sources: dict[str, str], expected: int) -> None:
    assert len(circle(sources)) == expected


@pytest.mark.parametrize("level", ["cascade", "deploy", "tasks", "flows"])
def test_packages_of_one_level_form_no_circle(level: str) -> None:
    sources = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): (ROOT / name).read_text(encoding="utf-8")
        for name in NAMES
        if name.split("/")[0] == level and name != f"{level}/__init__.py"
    }
    assert circle(sources) == []


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
