"""The key of everything that is kept between runs: features, stage predictions, checkpoints, the stamp of a step.

A result may be taken from a private cache only where all that it was computed from is the same: inputs by content,
parameters by value, the code of the modules that compute it and of all that these import, the versions of the libraries
that this code imports, and Python's. Comments, docstrings and formatting do not count. Modules that check parameters
(`SETTINGS`) do not count either, since parameters are in the key by value.

    key = cache_key(["tasks.classifier.encoder"], inputs={"backbone": folder}, params={"size": 224, "seed": 3})
    work = Path("var/features") / key.short       # a name for a folder or a file
    write_json(work / "key.json", key.parts)      # so that `explain` can say later why another key is another one
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.common.file_memo import MEMORY, FileMemo, digest_path
from tasks.common.files import sha256
from tasks.common.imports import ROOT, Reach, reachable
from tasks.common.libraries import library_version

FORMAT = 1  # of the parts; another one makes all keys other ones
SETTINGS = ("cascade.config", "tasks.config")
LABELS = {"inputs": "input {}", "params": "params {}", "code": "code of {}", "libraries": "{}"}
NAMED = 4  # changes that `explain` names
SHORT = 24  # characters of a value that it shows
NOTHING = object()


@dataclass(frozen=True)
class CacheKey:
    """All that a result depends on, and the digests that stand for it.

    Attributes:
        parts: plain JSON with the keys format, python, inputs, params, code and libraries; equal to what is read back
            after it was written to a JSON file.
    """

    parts: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the parts, 64 hex digits."""
        return sha256(json.dumps(self.parts, sort_keys=True).encode())

    @property
    def short(self) -> str:
        """The first 16 hex digits, for names of files and folders."""
        return self.digest[:16]


def cache_key(
    modules: Iterable[str],
    *,
    scripts: Iterable[str] = (),
    inputs: Mapping[str, str | Path] | None = None,
    params: Any = None,
    root: Path = ROOT,
    memo: FileMemo = MEMORY,
) -> CacheKey:
    """Make the key of a result.

    Args:
        modules: dotted names of the modules that compute it, `package.*` for all of a package. Name the ones that do
            the work, not the step that calls them: a step imports much that does not bear on the result.
        scripts: modules that run in an environment of their own: their code counts, the libraries here do not.
        inputs: by name, a digest, or the path of a file or folder whose content is digested.
        params: JSON, pydantic models, or a mix of both; a model counts with all its fields.
        root: folder that holds the packages of the project.
        memo: keeps digests of files.

    Raises:
        ValueError: a module does not exist or is not Python, or a parameter is NaN.
        TypeError: a parameter is neither JSON nor a pydantic model.
    """
    here, elsewhere = (reachable(names, root, memo, without=SETTINGS) for names in (modules, scripts))
    parts = {
        "format": FORMAT,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "inputs": {
            name: digest_path(given, memo) if isinstance(given, Path) else given
            for name, given in (inputs or {}).items()
        },
        "params": params,
        "code": _code(elsewhere, root, memo) | _code(here, root, memo),
        "libraries": {name: library_version(name) for name in sorted(here.libraries)},
    }
    return CacheKey(json.loads(json.dumps(parts, default=_plain, allow_nan=False)))


def explain(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say in one line what makes one key another one; empty where nothing does.

    Args:
        old: parts of a key, as they were kept.
        new: parts of the present key.
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    names = [name for name in dict.fromkeys([*after, *before]) if before.get(name, NOTHING) != after.get(name, NOTHING)]
    lines = [_change(name, before.get(name, NOTHING), after.get(name, NOTHING)) for name in names[:NAMED]]
    return "; ".join([*lines, *([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])])


def _code(reach: Reach, root: Path, memo: FileMemo) -> dict[str, str]:
    """Digests of the modules by dotted name, and of the other files that lie in their folders, by path."""
    folders = sorted({(root / file).parent for file in reach.files})
    beside = [file for folder in folders for file in sorted(folder.iterdir()) if _is_data(file)]
    code = {name: module.digest for name, module in reach.modules.items()}
    return code | {file.relative_to(root).as_posix(): digest_path(file, memo) for file in beside}


def _is_data(file: Path) -> bool:
    """A file that a module may read, and nothing that editors or the interpreter leave."""
    return file.is_file() and file.suffix not in (".py", ".pyc") and file.name[0] != "." and file.name[-1] != "~"


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} cannot be part of a key: give JSON or a pydantic model")


def _leaves(part: Any, name: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], Any]]:
    if isinstance(part, Mapping) and part:
        for key, value in part.items():
            yield from _leaves(value, (*name, key))
    elif name and part != {}:
        yield name, part


def _change(name: tuple[str, ...], old: Any, new: Any) -> str:
    label = LABELS.get(name[0], f"{name[0]} {{}}").format(".".join(name[1:])) if len(name) > 1 else name[0]
    if old is NOTHING or new is NOTHING:
        return f"{label} is {'new' if old is NOTHING else 'gone'}"
    values = [json.dumps(value) if name[0] == "params" else str(value) for value in (old, new)]
    if name[0] in ("inputs", "code") or max(map(len, values)) > SHORT:
        return f"{label} changed"
    return f"{label} {values[0]} -> {values[1]}"
