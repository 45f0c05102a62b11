"""What a module can run, read from its text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.common.imports import Reach, entry_modules, imported, module_file, reachable
from tests.support.paths import ROOT

TREE = {
    "tasks/__init__.py": '"""Only words."""\n',
    "tasks/train.py": "from tasks import helper\ndef run():\n    import cascade.evaluate.scores\n    import torch.nn\n",
    "tasks/helper.py": "import json\nfrom .deep import thing\n",
    "tasks/deep.py": "from __future__ import annotations\nthing = 1\n",
    "tasks/other.py": "",
    "tasks/typed.py": "import typing\nif typing.TYPE_CHECKING:\n    from tasks import deep\nelse:\n    import cv2\n",
    "tasks/settled.py": "from cascade.config import size\nfrom tasks.deep import thing\n",
    "cascade/__init__.py": "VERSION = 1\n",
    "cascade/evaluate/scores.py": "import numpy as np\n",
    "cascade/config/__init__.py": "import pydantic\nfrom cascade.evaluate import scores\nsize = 1\n",
    "tasks/awq/__init__.py": "from . import first\n",
    "tasks/awq/first.py": "from ..deep import thing\n",
    "tasks/awq/second.py": "import bpy\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("entry", "files", "libraries"),
    [
        # a submodule by `from package import`, a relative import, one inside a function, a package with code
        (
            "tasks.train",
            {"tasks/train.py", "tasks/helper.py", "tasks/deep.py", "cascade/__init__.py", "cascade/evaluate/scores.py"},
            {"torch", "numpy"},
        ),
        # a name from a module is no module; the standard library is no library
        ("tasks.helper", {"tasks/helper.py", "tasks/deep.py"}, set()),
        # nothing in it
        ("tasks.other", set(), set()),
        # what only a type checker loads; the other branch runs
        ("tasks.typed", {"tasks/typed.py"}, {"cv2"}),
        # relative imports of a package's own file, and one level up
        ("tasks.awq", {"tasks/awq/__init__.py", "tasks/awq/first.py", "tasks/deep.py"}, set()),
        # all of a package
        (
            "tasks.awq.*",
            {"tasks/awq/__init__.py", "tasks/awq/first.py", "tasks/awq/second.py", "tasks/deep.py"},
            {"bpy"},
        ),
    ],
)
def test_reachable(tree: Path, entry: str, files: set[str], libraries: set[str]) -> None:
    found = reachable([entry], tree)
    assert found.files == files
    assert found.libraries == libraries


def test_packages_left_out_are_not_followed(tree: Path) -> None:
    found = reachable(["tasks.settled"], tree, without=("cascade.config",))
    assert (found.files, found.libraries) == ({"tasks/settled.py", "tasks/deep.py"}, set())
    # of another name that begins alike
    assert "tasks/deep.py" in reachable(["tasks.settled"], tree, without=("tasks.dee",)).files


@pytest.mark.parametrize("entry", ["tasks.missing", "tasks.missing.*", "json", "tasks.train.run"])
def test_an_entry_that_is_no_module_is_an_error(tree: Path, entry: str) -> None:
    """A name that was misspelled would make a key that no code is part of."""
    with pytest.raises(ValueError, match="no such module"):
        reachable([entry], tree)


def test_a_file_that_is_not_python_is_named(tree: Path) -> None:
    (tree / "tasks" / "deep.py").write_text("thing = \n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"tasks/deep\.py, line 1: invalid syntax"):
        reachable(["tasks.train"], tree)


@pytest.mark.parametrize(
    ("command", "modules"),
    [
        ("python -m tasks.train --new", ["tasks.train"]),
        ("python3 -m tasks.a && python -m tasks.b", ["tasks.a", "tasks.b"]),
        ("echo tasks.train", []),
    ],
)
def test_entry_modules(command: str, modules: list[str]) -> None:
    assert entry_modules(command) == modules


def test_imports_inside_functions_are_seen() -> None:
    tree = ast.parse("def f():\n    from tasks.train import run\n")
    assert imported(tree, "cascade.x") == {"tasks.train", "tasks.train.run"}


@pytest.mark.parametrize(("name", "file"), [("tasks.awq", "tasks/awq/__init__.py"), ("tasks.nothing", None)])
def test_module_file(tree: Path, name: str, file: str | None) -> None:
    assert module_file(name, tree) == (file and tree / file)


CODE = '''
"""What it is."""
import math


class Shape:
    """A shape."""

    sides: int = 4
    """How many."""

    def area(self, a, b):
        """Give the area."""
        return a * b  # of a rectangle
'''
SCRIPT = '# /// script\n# dependencies = ["bpy==4.5.15"]\n# ///\n'


def digest(root: Path, text: str) -> str:
    (root / "tasks").mkdir(exist_ok=True)
    (root / "tasks" / "one.py").write_text(text, encoding="utf-8")
    found: Reach = reachable(["tasks.one"], root)
    return found.modules["tasks.one"].digest


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        # comments and formatting
        ("# of a rectangle", "# in metres", True),
        ("  # of a rectangle", "", True),
        ("a * b", "(a *\n            b)", True),
        ("\n\n\nclass", "\nclass", True),
        ('"""A shape."""', "'A shape.'", True),
        # docstrings: of the module, a class, a field, a function; another one, or none
        ('"""What it is."""\n', "", True),
        ("A shape", "A figure", True),
        ('    """How many."""\n', "", True),
        ("Give the area", "The area", True),
        # constants, names, order of arguments, decorators, an import
        ("= 4", "= 5", False),
        ("= 4", "= 4.0", False),
        ("a * b", "a + b", False),
        ("a, b", "b, a", False),
        ("    def area", "    @staticmethod\n    def area", False),
        ("import math", "import cmath", False),
        # a text that is used
        ("import math", "import math\nprompt = 'A?'", False),
    ],
)
def test_what_counts_of_a_module(tmp_path: Path, old: str, new: str, same: bool) -> None:
    assert old in CODE
    assert (digest(tmp_path, CODE) == digest(tmp_path, CODE.replace(old, new))) == same


def test_the_comment_that_names_a_scripts_dependencies_counts(tmp_path: Path) -> None:
    assert digest(tmp_path, SCRIPT + CODE) != digest(tmp_path, SCRIPT.replace("15", "16") + CODE)
    assert digest(tmp_path, SCRIPT + CODE) == digest(tmp_path, SCRIPT + "# more\n" + CODE)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["# why", "", "    # note"])), max_size=5))
def test_comments_and_blank_lines_never_count(
    tmp_path_factory: pytest.TempPathFactory, added: list[tuple[int, str]]
) -> None:
    """Put between lines of a real module, outside of its texts of several lines."""
    text = (ROOT / "tasks" / "common" / "libraries.py").read_text(encoding="utf-8")
    lines, tree = text.splitlines(), ast.parse(text)
    inside = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.end_lineno is not None
        for line in range(node.lineno, node.end_lineno)
    }
    root = tmp_path_factory.mktemp("copy")
    expected = digest(root, text)
    for place, comment in sorted(added, reverse=True):
        if place not in inside:
            lines.insert(place, comment)
    assert digest(root, "\n".join(lines) + "\n") == expected


@pytest.mark.parametrize("package", ["cascade", "tasks"])
def test_written_anew_by_the_parser_every_module_keeps_its_digest(tmp_path: Path, package: str) -> None:
    """All formatting and all comments are lost in that; every fourth module, which takes a second."""
    for file in sorted((ROOT / package).glob("*/*.py"))[::4]:
        text = file.read_text(encoding="utf-8")
        # that of a script of its own names its dependencies in a comment
        if file.name != "__init__.py" and "# /// script" not in text:
            assert digest(tmp_path, text) == digest(tmp_path, ast.unparse(ast.parse(text))), file
