"""dvc.yaml against the code: DVC sees no imports and no pydantic sections, so this file looks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from flows.dvc.deps import entry_modules, local_modules, module_file, stage_modules, write
from tasks.config import Params
from tests.support.paths import ROOT

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def section(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The pydantic model of one key of a section, or None where the key is a plain value."""
    fields = {info.alias or key: info.annotation for key, info in model.model_fields.items()}
    assert name in fields, f"{model.__name__} has no key {name}"
    kind = fields[name]
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


@pytest.mark.parametrize("name", STAGES)
def test_command_starts_a_module_of_ours(name: str) -> None:
    entries = entry_modules(STAGES[name]["cmd"])
    assert entries, f"{name}: the command starts no module"
    assert [entry for entry in entries if module_file(entry, ROOT) is None] == []


@pytest.mark.parametrize("name", STAGES)
def test_deps_name_every_module_that_a_stage_imports(name: str) -> None:
    named = {dep for dep in STAGES[name].get("deps", []) if dep.endswith(".py")}
    assert named == stage_modules(STAGES[name], ROOT), "run `make deps`"


@pytest.mark.parametrize("name", STAGES)
def test_params_are_keys_of_the_sections(name: str) -> None:
    for path in STAGES[name].get("params", []):
        model: type[BaseModel] | None = Params
        for key in path.split("."):
            assert model is not None, f"{name}: {path} goes below a plain value"
            model = section(model, key)


@pytest.mark.parametrize(("model", "document"), [(Params, yaml.safe_load((ROOT / "params.yaml").read_text()))])
def test_params_file_spells_out_every_key(model: type[BaseModel], document: dict[str, Any]) -> None:
    """A key that only has a default in the code is tracked by nobody: DVC tracks what params.yaml says."""
    keys = {info.alias or key for key, info in model.model_fields.items()}
    assert keys == document.keys()
    for key, value in document.items():
        if (inner := section(model, key)) is not None:
            test_params_file_spells_out_every_key(inner, value)


TREE = {
    "tasks/__init__.py": '"""Only words."""\n',
    "tasks/train.py": "from tasks import helper\n\ndef run():\n    import cascade.evaluate.scores\n    import torch\n",
    "tasks/helper.py": "from .deep import thing\n",
    "tasks/deep.py": "thing = 1\n",
    "tasks/other.py": "",
    "cascade/__init__.py": "VERSION = 1\n",
    "cascade/evaluate/scores.py": "import json\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        # a submodule by `from package import`, a relative import, one inside a function, a package with code
        (
            "tasks.train",
            {"tasks/train.py", "tasks/helper.py", "tasks/deep.py", "cascade/__init__.py", "cascade/evaluate/scores.py"},
        ),
        # a name from a module is no module
        ("tasks.helper", {"tasks/helper.py", "tasks/deep.py"}),
        # alone
        ("tasks.other", {"tasks/other.py"}),
        # not ours, not there
        ("json", set()),
        ("tasks.missing", set()),
    ],
)
def test_local_modules(tree: Path, entry: str, expected: set[str]) -> None:
    assert local_modules(entry, tree) == expected


def test_write_keeps_data_and_comments_and_is_idempotent(tree: Path) -> None:
    text = (
        "# why\nstages:\n  train:\n    cmd: python -m tasks.train\n    deps: [data/x, tasks/gone.py]\n    outs: [y]\n"
    )
    (tree / "dvc.yaml").write_text(text, encoding="utf-8")
    assert write(tree)
    assert not write(tree)
    written = (tree / "dvc.yaml").read_text(encoding="utf-8")
    assert written.startswith("# why\n")
    deps = yaml.safe_load(written)["stages"]["train"]["deps"]
    assert deps[0] == "data/x"
    assert set(deps[1:]) == local_modules("tasks.train", tree)
