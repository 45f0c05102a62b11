"""The static import graph of the project: which files of ours, and which libraries, a module can run.

Nothing is imported here; files are parsed, and imports inside functions count. What only a type checker imports
(`if TYPE_CHECKING:`) does not count, since it cannot run.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tasks.common.file_memo import MEMORY, FileMemo
from tasks.common.files import sha256

PACKAGES = ("cascade", "tasks", "flows", "deploy")
ROOT = Path(__file__).resolve().parents[2]
# results of the parser differ between Python versions, and those of `_parse` with its own code
KIND = f"module 1 python {sys.version_info.major}.{sys.version_info.minor}"
# a script's own dependencies stand in a comment, https://peps.python.org/pep-0723/
SCRIPT_BLOCK = re.compile(r"(?m)^# /// [a-zA-Z0-9-]+$\s(?:^#(?:| .*)$\s)+^# ///$")
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Module:
    """One file of the project.

    Attributes:
        file: relative to the root, with forward slashes, as in dvc.yaml.
        digest: of its code: comments, docstrings and formatting do not count.
    """

    file: str
    digest: str


@dataclass(frozen=True)
class Reach:
    """What some modules import at any depth, themselves included.

    Attributes:
        modules: files of the project by dotted name. A package's `__init__.py` that only says what the package is
            cannot change a result and is left out.
        libraries: first parts of the names of all other imports that are not of the standard library.
    """

    modules: dict[str, Module]
    libraries: frozenset[str]

    @property
    def files(self) -> set[str]:
        """The files, relative to the root, with forward slashes, as in dvc.yaml."""
        return {module.file for module in self.modules.values()}


def reachable(
    entries: Iterable[str], root: Path = ROOT, memo: FileMemo = MEMORY, without: tuple[str, ...] = ()
) -> Reach:
    """Follow the imports of modules.

    Args:
        entries: dotted names; `package.*` stands for all modules that lie directly in a package.
        root: folder that holds the packages.
        memo: keeps what was parsed.
        without: packages whose modules are neither given nor followed.

    Raises:
        ValueError: an entry is no module of the project, or a file is not Python.
    """
    modules: dict[str, Module] = {}
    libraries: set[str] = set()
    waiting, seen = _expanded(entries, root), set()
    while waiting:
        name = waiting.pop()
        file = module_file(name, root)
        if name in seen or file is None or any(f"{name}.".startswith(f"{package}.") for package in without):
            continue
        seen.add(name)
        digest, names = memo.get(KIND, file, partial(_parse, module=name))
        if digest:
            modules[name] = Module(file.relative_to(root).as_posix(), digest)
        libraries |= {first for first in map(_first, names) if not _is_known(first)}
        waiting += [*(one for one in names if _first(one) in PACKAGES), *_packages(name)]
    return Reach(dict(sorted(modules.items())), frozenset(libraries))


def entry_modules(command: str) -> list[str]:
    """The modules that a stage's command starts: `python -m tasks.train --x` gives `tasks.train`."""
    return re.findall(r"python3? -m ([\w.]+)", command)


def imported(tree: ast.Module, module: str, *, is_package: bool = False) -> set[str]:
    """Every dotted name that a module's imports may load; `from a import b` gives `a` and `a.b`, perhaps no module.

    Args:
        tree: the parsed module.
        module: its dotted name, to which relative imports refer.
        is_package: it is the `__init__.py` of that name.
    """
    parts = [*module.split("."), ""] if is_package else module.split(".")
    names: set[str] = set()
    for node in _nodes_that_run(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parts[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    return names


def module_file(module: str, root: Path = ROOT) -> Path | None:
    """The file of a module of this project, or None where the name is none."""
    path = root.joinpath(*module.split("."))
    candidates = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next((file for file in candidates if _first(module) in PACKAGES and file.is_file()), None)


def _parse(file: Path, module: str) -> list[object]:
    """Digest and imports of a file, as JSON."""
    text = file.read_text(encoding="utf-8")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"{file}, line {error.lineno}: {error.msg}") from None
    names = imported(tree, module, is_package=file.name == "__init__.py")
    return [_code_digest(tree, text), sorted(names)]


def _code_digest(tree: ast.Module, text: str) -> str:
    """Digest of what a module does; empty for one that does nothing.

    Comments, docstrings and formatting do not count, except the comment that names a script's dependencies.
    """
    for node in ast.walk(tree):
        if isinstance(node, DEFINITIONS):
            node.body = [line for line in node.body if not _is_text(line)]
    blocks = SCRIPT_BLOCK.findall(text)
    return sha256("\n".join([ast.dump(tree), *blocks]).encode()) if tree.body or blocks else ""


def _expanded(entries: Iterable[str], root: Path) -> list[str]:
    found: list[str] = []
    for entry in entries:
        package = entry.removesuffix(".*")
        if module_file(package, root) is None:
            raise ValueError(f"{package}: no such module under {root}")
        inside = root.joinpath(*package.split(".")).glob("*.py") if entry != package else ()
        found += [package, *(f"{package}.{file.stem}" for file in inside if file.stem != "__init__")]
    return found


def _nodes_that_run(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, less the bodies of `if TYPE_CHECKING:`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting += node.orelse
        else:
            yield node
            waiting += ast.iter_child_nodes(node)


def _packages(module: str) -> list[str]:
    """The packages above a module, whose `__init__` runs before it."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _is_text(node: ast.stmt) -> bool:
    """A text that stands alone: a docstring, or what documents the line above it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_known(first: str) -> bool:
    return first in PACKAGES or first in sys.stdlib_module_names or first == "__future__"


def _first(name: str) -> str:
    return name.split(".")[0]
