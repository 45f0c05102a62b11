"""Keys of private caches: another one whenever the result may be another one, and only then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade.config.base import Section
from tasks.common import cache_key as module
from tasks.common.cache_key import CacheKey, cache_key, explain

TREE = {
    "tasks/__init__.py": '"""Steps."""\n',
    "tasks/work.py": '"""Work."""\nfrom tasks.losses import GAMMA\n\ndef run():\n    import cascade.ocr.keywords\n',
    "tasks/losses.py": '"""Losses."""\nimport numpy\n\nGAMMA = 2.0  # of the focal loss\n',
    "tasks/unused.py": "X = 1\n",
    "cascade/ocr/__init__.py": "",
    "cascade/ocr/keywords.py": "from cascade.config import base\n",
    "cascade/ocr/keywords.yaml": "en: [roadworks]\n",
    "cascade/config/base.py": "SIZE = 1\n",
    "tasks/scene/__init__.py": "",
    "tasks/scene/kit.py": "import bpy\nSIDES = 4\n",
}
KEYWORDS = "code of cascade/ocr/keywords.yaml"


class Inner(Section):
    """Some parameters."""

    size: int = 224
    layers: tuple[int, ...] = (2, 4)


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        write(tmp_path, name, text)
    return tmp_path


def key(root: Path, **more: Any) -> CacheKey:
    return cache_key(["tasks.work"], scripts=["tasks.scene.*"], root=root, **more)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        # a comment, a docstring, formatting
        ("tasks/losses.py", "of the focal loss", "see the paper", ""),
        ("tasks/losses.py", "Losses", "The losses", ""),
        ("tasks/work.py", "def run():", "def run(  ):", ""),
        # a constant of an imported module, and of a script
        ("tasks/losses.py", "2.0", "3.0", "code of tasks.losses changed"),
        ("tasks/scene/kit.py", "4", "5", "code of tasks.scene.kit changed"),
        # one module fewer, and one more
        ("tasks/work.py", "from tasks.losses import GAMMA", "GAMMA = 2", "code of tasks.losses is gone"),
        ("tasks/work.py", "from tasks.losses", "import tasks.unused\nfrom tasks.losses", "code of tasks.unused is new"),
        # a data file in the folder of a module that is reached inside a function
        ("cascade/ocr/keywords.yaml", "roadworks", "road works", f"{KEYWORDS} changed"),
        # what only checks parameters, and what is not reached
        ("cascade/config/base.py", "1", "2", ""),
        ("tasks/unused.py", "1", "2", ""),
        # a library more
        ("tasks/losses.py", "import numpy", "import numpy, yaml", "yaml is new"),
    ],
)
def test_what_of_the_code_counts(tree: Path, name: str, old: str, new: str, said: str) -> None:
    before = key(tree)
    assert old in TREE[name]
    write(tree, name, TREE[name].replace(old, new))
    after = key(tree)
    assert (before.digest == after.digest) == (not said)
    assert said in explain(before.parts, after.parts)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("cascade/ocr/more.yaml", True),
        # left by editors and the interpreter; in a folder below; in a folder that nothing is reached in
        ("cascade/ocr/.keywords.yaml.swp", False),
        ("cascade/ocr/keywords.yaml~", False),
        ("cascade/ocr/__pycache__/keywords.cpython-311.pyc", False),
        ("cascade/config/notes.yaml", False),
        ("cascade/notes.yaml", False),
    ],
)
def test_files_beside_the_code(tree: Path, name: str, counts: bool) -> None:
    before = key(tree).digest
    write(tree, name, "x")
    assert (key(tree).digest != before) == counts


def test_the_code_of_the_project_itself() -> None:
    code = cache_key(["tasks.select_stages"]).parts["code"]
    # what the choice of stages turns on: routing, and the words that OCR looks for
    assert {"tasks.select_stages", "cascade.core.router", "cascade/ocr/keywords.yaml"} <= code.keys()
    assert [name for name in code if name.startswith("cascade.config")] == []


def test_libraries_of_this_environment_count_for_what_runs_in_it(tree: Path) -> None:
    assert key(tree).parts["libraries"].keys() == {"numpy"}
    assert cache_key(["tasks.scene.*"], root=tree).parts["libraries"] == {"bpy": "absent"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"params": {"size": 224}}, {"params": {"size": 336}}, "params size 224 -> 336"),
        ({"params": {"embed": {"size": 224}}}, {"params": {"embed": {"size": 336}}}, "params embed.size 224 -> 336"),
        # a model as such, within JSON, and against its own JSON
        ({"params": Inner()}, {"params": Inner(size=336)}, "params size 224 -> 336"),
        (
            {"params": {"embed": Inner()}},
            {"params": {"embed": Inner(layers=(2,))}},
            "params embed.layers [2, 4] -> [2]",
        ),
        ({"params": Inner()}, {"params": {"size": 224, "layers": [2, 4]}}, ""),
        # the type counts; a long value is not shown
        ({"params": {"a": 1}}, {"params": {"a": "1"}}, 'params a 1 -> "1"'),
        ({"params": {"a": None}}, {"params": {"a": "x" * 99}}, "params a changed"),
        # digests that the caller has
        ({"inputs": {"data": "ab"}}, {"inputs": {"data": "cd"}}, "input data changed"),
        ({"inputs": {"data": "ab"}}, {"inputs": {"data": "ab", "more": "cd"}}, "input more is new"),
        ({"inputs": {"data": "ab"}}, {}, "input data is gone"),
    ],
)
def test_parameters_and_inputs(tree: Path, old: dict[str, Any], new: dict[str, Any], said: str) -> None:
    before, after = key(tree, **old), key(tree, **new)
    assert explain(before.parts, after.parts) == said
    assert (before.digest == after.digest) == (not said)


def test_inputs_by_path_count_by_content(tree: Path) -> None:
    write(tree, "data/a", "1")
    before = key(tree, inputs={"data": tree / "data"})
    write(tree, "elsewhere/a", "1")
    assert key(tree, inputs={"data": tree / "elsewhere"}) == before
    write(tree, "data/a", "2")
    assert explain(before.parts, key(tree, inputs={"data": tree / "data"}).parts) == "input data changed"


def test_another_version_of_a_library_or_of_python(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(tree)
    monkeypatch.setattr(module, "library_version", lambda name: "9.9")
    after = key(tree)
    assert after.digest != before.digest
    assert explain(before.parts, after.parts) == f"numpy {before.parts['libraries']['numpy']} -> 9.9"
    monkeypatch.undo()
    monkeypatch.setattr(module.sys, "version_info", type("V", (), {"major": 3, "minor": 12}))
    assert explain(before.parts, key(tree).parts) == "python 3.11 -> 3.12"


def test_parts_survive_a_json_file(tree: Path) -> None:
    parts = key(tree, params={"pair": (1, 2), "model": Inner()}).parts
    assert json.loads(json.dumps(parts)) == parts


def test_digests_are_the_same_in_every_order_and_the_short_one_is_its_start(tree: Path) -> None:
    one, two = (key(tree, params=params) for params in ({"a": 1, "b": 2}, {"b": 2, "a": 1}))
    assert (one.digest, len(one.digest), one.short) == (two.digest, 64, two.digest[:16])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda root: cache_key(["tasks.wrok"], root=root), "tasks.wrok: no such module"),
        (lambda root: key(root, params={"path": Path("x")}), "cannot be part of a key"),
        (lambda root: key(root, params=float("nan")), "not JSON compliant"),
    ],
)
def test_a_key_that_would_say_nothing_is_refused(tree: Path, call: Callable[[Path], CacheKey], error: str) -> None:
    with pytest.raises((ValueError, TypeError), match=error):
        call(tree)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({}, {}, ""),
        ({"libraries": {"torch": "2.14"}}, {"libraries": {"torch": "2.15"}}, "torch 2.14 -> 2.15"),
        ({"code": {}}, {"code": {"tasks.a": "x"}}, "code of tasks.a is new"),
        ({"params": 1}, {"params": 2}, "params 1 -> 2"),
        ({"format": 1}, {"format": 2}, "format 1 -> 2"),
        # the first four are named
        (
            {"code": dict.fromkeys("abcdef", "1")},
            {"code": dict.fromkeys("abcdef", "2")},
            "code of a changed; code of b changed; code of c changed; code of d changed; 2 more",
        ),
        # kept by something else than this helper
        ({"code": 5}, {"code": {"tasks.a": "x"}}, "code of tasks.a is new; code is gone"),
    ],
)
def test_explain(old: dict[str, Any], new: dict[str, Any], said: str) -> None:
    assert explain(old, new) == said
