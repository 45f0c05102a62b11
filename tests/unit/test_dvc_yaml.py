"""dvc.yaml against the code: DVC sees no imports and no pydantic sections, so this file looks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

import tasks.awq.quantize
import tasks.classifier.embedding
import tasks.classifier.train
import tasks.data.labelled
import tasks.data.pull
import tasks.detection.detect
import tasks.llava.build
import tasks.mine
import tasks.optimize.export
import tasks.selection.compare
import tasks.synthesis.synthesize
import tasks.validate
from tasks.common.cache_key import SETTINGS
from tasks.common.imports import entry_modules, module_file, reachable
from tasks.common.metrics import figure
from tasks.config import Params
from tests.support.paths import ROOT

HEADLINES = {
    "pull_data": tasks.data.pull.HEADLINE,
    "embed": tasks.classifier.embedding.HEADLINE,
    "probe": tasks.classifier.train.HEADLINE,
    "synthesize": tasks.synthesis.synthesize.HEADLINE,
    "mine": tasks.mine.HEADLINE,
    "label": tasks.data.labelled.HEADLINE,
    "embed_new": tasks.classifier.embedding.HEADLINE,
    "train": tasks.classifier.train.HEADLINE,
    "export": tasks.optimize.export.HEADLINE,
    "validate": tasks.validate.HEADLINE,
    "detect": tasks.detection.detect.HEADLINE,
    "vlm": tasks.llava.build.HEADLINE,
    "quantize": tasks.awq.quantize.HEADLINE,
    "select_stages": tasks.selection.compare.HEADLINE,
}
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


def is_under(file: str, dep: str) -> bool:
    """Whether a file is a dependency, or in a folder that is one."""
    return Path(file) == Path(dep) or Path(dep) in Path(file).parents


def reached(stage: dict[str, Any]) -> set[str]:
    """The files of the project that a stage can reach, less those that only check parameters."""
    return reachable(entry_modules(stage["cmd"]), ROOT, without=SETTINGS).files - {"tasks/__init__.py"}


def missing(stage: dict[str, Any]) -> list[str]:
    """The modules that a stage can reach and that are under none of its deps."""
    return sorted(file for file in reached(stage) if not any(is_under(file, dep) for dep in stage.get("deps", [])))


@pytest.mark.parametrize("name", STAGES)
def test_each_module_that_a_stage_imports_is_under_its_deps(name: str) -> None:
    assert missing(STAGES[name]) == []


@pytest.mark.parametrize("name", STAGES)
def test_each_package_among_the_deps_is_imported(name: str) -> None:
    """A folder that a stage does not use would make it stale for nothing."""
    files = reached(STAGES[name])
    code = [dep for dep in STAGES[name].get("deps", []) if dep.split("/")[0] in ("cascade", "tasks")]
    unused = [dep for dep in code if not any(is_under(file, dep) for file in files)]
    # the renderer runs in an environment of its own, where no import leads to it
    assert [dep for dep in unused if dep != "tasks/tools/render.py"] == []


@pytest.mark.parametrize("left_out", ["tasks/common", "cascade", "tasks/train.py"])
def test_a_package_that_is_left_out_is_seen(left_out: str) -> None:
    stage = STAGES["train"]
    assert missing({**stage, "deps": [dep for dep in stage["deps"] if dep != left_out]})


def test_the_file_is_for_people() -> None:
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 220


@pytest.mark.parametrize("name", STAGES)
def test_outputs_persist(name: str) -> None:
    """DVC removes other outputs before a step runs, and the step could not keep them."""
    for kind in ("outs", "plots", "metrics"):
        for out in STAGES[name].get(kind, []):
            ((path, options),) = out.items()
            assert options["persist"], path


def test_a_table_of_experiments_is_for_people() -> None:
    """Every metric of DVC is a column of `dvc exp show`: the stages' headlines, all of which the reports have."""
    count = 0
    for name, stage in STAGES.items():
        files = [path for out in stage.get("metrics", []) for path in out]
        report = f"reports/{name.removesuffix('_data')}"
        assert files in ([], [f"{report}/headline.json"])
        if files:
            kept = {path: options for out in stage["outs"] for path, options in out.items()}
            assert kept[f"{report}/metrics.json"] == {"cache": False, "persist": True}, "all figures, in git"
            full = json.loads((ROOT / report / "metrics.json").read_text(encoding="utf-8"))
            assert [one for one in HEADLINES[name] if figure(full, one) is None] == []
            count += len(HEADLINES[name])
    assert count <= 35, "with those of the experiment itself 40 columns"


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
