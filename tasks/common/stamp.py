"""The stamp of a step's last run: what it depended on and what it wrote, in var/steps/<stage>.json.

DVC runs a stage again when anything in the folders of code among its deps changes, be it a comment. The stamp tells
whether the result can be another one: its key has the content of the stage's data, the values of its parameters, the
code that the step reaches and the versions of its libraries (tasks/common/cache_key.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.common.cache_key import CacheKey, cache_key, explain
from tasks.common.file_memo import MISSING, FileMemo, digest_path
from tasks.common.files import read_json, write_json
from tasks.common.imports import PACKAGES, ROOT

DVC_FILE = Path("dvc.yaml")
PARAMS_FILE = Path("params.yaml")
STEPS = Path("var/steps")


class Stamp:
    """The stamp of one stage, with the key that it has now; paths are relative to the current folder.

    Args:
        name: of the stage.
        stage: its entry in dvc.yaml.
        module: that the stage runs.
        scripts: further modules that it runs, in an environment of their own.
        code: folder that holds the packages.

    Raises:
        ValueError: the stage's entry or a module cannot be read.
    """

    def __init__(
        self, name: str, stage: dict[str, Any], module: str, scripts: Sequence[str] = (), code: Path = ROOT
    ) -> None:
        self._path = STEPS / f"{name}.json"
        self._memo = FileMemo(STEPS / f"{name}.files.json")
        self._outs = [path for kind in ("outs", "metrics", "plots") for path in _paths(stage.get(kind, []))]
        data = [path for path in _paths(stage.get("deps", [])) if path.split("/")[0] not in PACKAGES]
        params = _values(name, stage.get("params", []))
        self._key: CacheKey = cache_key(
            [module],
            scripts=scripts,
            inputs={path: Path(path) for path in data} | _own_data(params),
            params=params,
            root=code,
            memo=self._memo,
        )
        self._memo.save()

    def difference(self) -> str | None:
        """Say why the step must run, or None where its last run's outputs are there and would come out the same."""
        last = self._read()
        if last is None:
            return "no finished run is on record here"
        if last["key"] != self._key.digest:
            return explain(last["parts"], self._key.parts) or "the record of the last run is damaged"
        for path, digest in self._digests().items():
            if digest == MISSING or last["outs"].get(path) != digest:
                return f"{path} is {'missing' if digest == MISSING else 'not what the last run wrote'}"
        self._memo.save()
        return None

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep a record of the run inside the block; one that fails or is killed leaves none."""
        self._path.unlink(missing_ok=True)
        yield
        write_json(self._path, {"key": self._key.digest, "parts": self._key.parts, "outs": self._digests()})
        self._memo.save()

    def _digests(self) -> dict[str, str]:
        return {path: digest_path(Path(path), self._memo) for path in self._outs}

    def _read(self) -> dict[str, Any] | None:
        """The last run's record; None where there is none or it is damaged."""
        try:
            found = read_json(self._path)
        except (OSError, ValueError):
            return None
        shape = {"key": str, "parts": dict, "outs": dict}
        whole = isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in shape.items())
        return found if whole else None


def find_stage(arguments: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
    """The stage of dvc.yaml whose command is `python -m` with these arguments.

    Returns:
        Its name and its entry; None where no stage has this command, or there is no dvc.yaml.

    Raises:
        ValueError: dvc.yaml is not YAML.
    """
    stages = _read_yaml(DVC_FILE).get("stages", {})
    return next(((name, stage) for name, stage in stages.items() if _command(stage) == ["-m", *arguments]), None)


def _command(stage: dict[str, Any]) -> list[str]:
    """What follows `python` in a stage's command; empty for a list of commands."""
    command = stage.get("cmd")
    return shlex.split(command)[1:] if isinstance(command, str) else []


def _paths(entries: Iterable[Any]) -> list[str]:
    """Paths of deps, outs, metrics or plots: plain, or with settings below them."""
    return [path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)]


def _values(stage: str, keys: Iterable[Any]) -> dict[str, Any]:
    """Values of the keys that a stage declares; a key that params.yaml lacks is left out."""
    document, found = _read_yaml(PARAMS_FILE), {}
    for key in keys:
        if not isinstance(key, str):
            raise ValueError(f"{DVC_FILE}: {stage}: params: {key}: only keys of {PARAMS_FILE} can be declared")
        value: Any = document
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found[key] = value
    return found


def _own_data(params: dict[str, Any]) -> dict[str, Path]:
    """Files and folders of the user's that a parameter names, as pull.data.path: no dep can, for it may be unset."""
    named = {f"{key}.path": value.get("path") for key, value in params.items() if isinstance(value, dict)}
    return {key: Path(path) for key, path in named.items() if path}


def _read_yaml(path: Path) -> dict[str, Any]:
    """Read YAML 1.2, as DVC does: `off` is a word."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe").load(path) if path.is_file() else {}
    except YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from None
    return found if isinstance(found, dict) else {}
