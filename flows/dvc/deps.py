"""Which local modules each DVC stage runs, from the imports. `python -m flows.dvc.deps` writes them into dvc.yaml.

DVC sees files, not imports: a stage whose helper module changed would be skipped as up to date.
"""

from __future__ import annotations

import ast
import re
from io import StringIO
from pathlib import Path
from typing import Any

PACKAGES = ("cascade", "tasks", "flows", "deploy")
DVC_FILE = Path("dvc.yaml")
CONFIG = "cascade/config/"


def entry_modules(command: str) -> list[str]:
    """The modules that a stage's command starts: `python -m tasks.train --x` gives `tasks.train`."""
    return re.findall(r"python3? -m ([\w.]+)", command)


def local_modules(entry: str, root: Path = Path()) -> set[str]:
    """The files of this project that `entry` imports, at any depth and also inside functions, itself included.

    Paths are relative to `root`, with forward slashes, as in dvc.yaml. An `__init__.py` that only says what its
    package is cannot change a result and is left out.
    """
    found: set[str] = set()
    waiting = [entry]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        file = module_file(module, root)
        if module in seen or file is None:
            continue
        seen.add(module)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if file.name != "__init__.py" or not _only_docstring(tree):
            found.add(file.relative_to(root).as_posix())
        waiting += [*imported(tree, module), *_packages(module)]
    return found


def imported(tree: ast.Module, module: str) -> set[str]:
    """Every dotted name that a module's imports may load from this project; a name may turn out to be no module."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*module.split(".")[: -node.level], node.module or ""]) if node.level else node.module or ""
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return {name for name in names if name.split(".")[0] in PACKAGES}


def module_file(module: str, root: Path = Path()) -> Path | None:
    """The file of a module of this project, or None where the name is none."""
    path = root.joinpath(*module.split("."))
    candidates = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next((file for file in candidates if module.split(".")[0] in PACKAGES and file.is_file()), None)


def stage_modules(stage: dict[str, Any], root: Path = Path()) -> set[str]:
    """The files of this project that one stage of dvc.yaml runs, less what only checks its parameters."""
    files = {file for entry in entry_modules(stage["cmd"]) for file in local_modules(entry, root)}
    # a stage's parameters reach it through `params`; a section more must not make all stages stale
    return {file for file in files if not file.startswith(CONFIG)}


def write(root: Path = Path()) -> bool:
    """Bring the modules among each stage's `deps` in line with the imports, and say whether dvc.yaml changed."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    file = root / DVC_FILE
    old = file.read_text(encoding="utf-8")
    document = yaml.load(old)
    for stage in document["stages"].values():
        _set_deps(stage, sorted(stage_modules(stage, root)))
    text = StringIO()
    yaml.dump(document, text)
    if text.getvalue() != old:
        partial = file.with_name(f".{file.name}.partial")
        partial.write_text(text.getvalue(), encoding="utf-8")
        partial.replace(file)
    return text.getvalue() != old


def _set_deps(stage: Any, modules: list[str]) -> None:
    """Keep what is no module of ours, in its order, and put the modules after it."""
    kept = [dep for dep in stage.get("deps", []) if not (str(dep).endswith(".py") and _is_ours(str(dep)))]
    if "deps" not in stage:
        stage.insert(1, "deps", [*kept, *modules])
        return
    stage["deps"][:] = [*kept, *modules]
    # one a line: a flow list of twenty files reads badly and conflicts in every merge
    stage["deps"].fa.set_block_style()


def _is_ours(path: str) -> bool:
    return path.split("/")[0] in PACKAGES


def _packages(module: str) -> list[str]:
    """The packages above a module, whose `__init__` runs before it."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _only_docstring(tree: ast.Module) -> bool:
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree.body)


if __name__ == "__main__":
    print("dvc.yaml: " + ("written" if write() else "as it should be"))
