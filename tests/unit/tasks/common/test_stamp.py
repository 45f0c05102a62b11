"""The record of a stage's last run, on a small project: what makes it void, and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tasks.common.libraries import library_version
from tasks.common.stamp import Stamp, find_stage
from tests.support.paths import ROOT
from tests.support.project import Change, edit, put, write_project

NO_RECORD = "no finished run is on record here"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return write_project(tmp_path)


def stamp(project: Path) -> Stamp:
    """As a new process has it."""
    library_version.cache_clear()
    stage = find_stage(["tasks.demo"])
    assert stage is not None
    return Stamp(*stage, "tasks.demo", ["tasks.scripts.*"], project)


def run(project: Path) -> None:
    with stamp(project).recorded():
        put("out/a", "text\n")(project)
        put("out.json", "224")(project)


@pytest.mark.parametrize(
    "change",
    [
        # comments, docstrings and formatting, in the step's own modules and in the shared ones
        edit("tasks/helper.py", "as often", "so many times"),
        edit("tasks/helper.py", "Help.", "Some help."),
        edit("tasks/helper.py", "made():", "made(  ):"),
        edit("tasks/common/files.py", "CHUNK = 1 << 20", "CHUNK = 1 << 20  # bytes"),
        # what only checks parameters
        edit("cascade/config/base.py", "Share = float", "Share = float\nMORE = 1"),
        # a module that is not reached, a parameter that is not declared, a comment on one that is, data that are no dep
        put("tasks/unused.py", "X = 1"),
        edit("params.yaml", "batch_size: 16 ", "batch_size: 17 "),
        edit("params.yaml", "size: 224  ", "size: 224  # pixels "),
        put("more.txt", "x"),
        # the same content at another time
        put("data/in.txt", "text\n"),
        put("out/a", "text\n"),
        # digests of files that are damaged
        put("var/steps/demo.files.json", "{"),
        put("var/steps/demo.files.json", '{"sha256:data/in.txt": 1}'),
        lambda project: (project / "var/steps/demo.files.json").unlink(),
    ],
)
def test_the_record_holds_after_a_change_that_bears_on_nothing(project: Path, change: Change) -> None:
    run(project)
    change(project)
    assert stamp(project).difference() is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        # an input, one more file of it, one fewer, all of it
        (put("data/in.txt", "TEXT\n"), "input data changed"),
        (put("data/more/c.txt", ""), "input data changed"),
        (lambda project: (project / "data/more/b.txt").unlink(), "input data changed"),
        (lambda project: shutil.rmtree(project / "data"), "input data changed"),
        # a declared key, one within a declared section, one that is gone
        (edit("params.yaml", "size: 224", "size: 336"), "params embed.size 224 -> 336"),
        (edit("params.yaml", "max_images: 32", "max_images: 8"), "params serve.max_images 32 -> 8"),
        (edit("params.yaml", "size: 224", "sizes: 224"), "params embed.size is gone"),
        # `off` is a word, as DVC has it
        (edit("params.yaml", "port: 8080", "port: off"), 'params serve.port 8080 -> "off"'),
        # code of an imported module, of a script that no import leads to, and data beside the code
        (edit("tasks/helper.py", "TIMES = 1", "TIMES = 2"), "code of tasks.helper changed"),
        (edit("tasks/scripts/paint.py", "4", "5"), "code of tasks.scripts.paint changed"),
        (edit("tasks/words.yaml", "road", "works"), "code of tasks/words.yaml changed"),
        (edit("tasks/common/files.py", "CHUNK = 1 << 20", "CHUNK = 1 << 21"), "code of tasks.common.files changed"),
        # a library, by what is installed
        (edit("demo_library-1.0.dist-info/METADATA", "Version: 1.0", "Version: 2.0"), "demo_library 1.0 -> 2.0"),
        # outputs
        (put("out/a", "TEXT\n"), "out is not what the last run wrote"),
        (put("out/b", ""), "out is not what the last run wrote"),
        (lambda project: shutil.rmtree(project / "out"), "out is missing"),
        (lambda project: (project / "out.json").unlink(), "out.json is missing"),
        (edit("dvc.yaml", "outs: [out:", "outs: [more.txt, out:"), "more.txt is missing"),
        (edit("dvc.yaml", "outs: [out:", "outs: [data, out:"), "data is not what the last run wrote"),
        # the record itself
        (lambda project: (project / "var/steps/demo.json").unlink(), NO_RECORD),
        (put("var/steps/demo.json", ""), NO_RECORD),
        (put("var/steps/demo.json", '{"key": "'), NO_RECORD),
        (put("var/steps/demo.json", "[1]"), NO_RECORD),
        (put("var/steps/demo.json", '{"key": "x"}'), NO_RECORD),
        (put("var/steps/demo.json", '{"key": "x", "parts": [], "outs": {}}'), NO_RECORD),
        (edit("var/steps/demo.json", '"key": "', '"key": "0'), "the record of the last run is damaged"),
    ],
)
def test_the_record_is_void_after_a_change_that_bears_on_the_result(project: Path, change: Change, why: str) -> None:
    run(project)
    change(project)
    assert stamp(project).difference() == why


def test_a_run_that_fails_leaves_no_record_of_the_one_before(project: Path) -> None:
    run(project)
    with pytest.raises(RuntimeError), stamp(project).recorded():
        raise RuntimeError
    assert stamp(project).difference() == NO_RECORD


def test_what_changes_during_a_run_makes_the_next_one_run(project: Path) -> None:
    with stamp(project).recorded():
        put("out/a", "text\n")(project)
        put("out.json", "224")(project)
        put("data/in.txt", "TEXT\n")(project)
        edit("tasks/helper.py", "TIMES = 1", "TIMES = 2")(project)
    assert stamp(project).difference() == "input data changed; code of tasks.helper changed"


@pytest.mark.parametrize(
    ("arguments", "stage"),
    [
        (["tasks.demo"], "demo"),
        (["tasks.demo", "--new"], "demo_new"),
        # no stage has this command, alone
        (["tasks.demo", "--ship"], None),
        (["tasks.demo", "--new", "--ship"], None),
        (["tasks.other"], None),
    ],
)
def test_the_stage_of_a_command_line(project: Path, arguments: list[str], stage: str | None) -> None:
    found = find_stage(arguments)
    assert (found and found[0]) == stage


def test_every_stage_of_the_project_is_found_by_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert stages
    for name, stage in stages.items():
        assert find_stage(stage["cmd"].removeprefix("python -m ").split()) == (name, stage)


@pytest.mark.parametrize("text", [None, "", "stages: {}\n"])
def test_no_stage_without_a_pipeline(project: Path, text: str | None) -> None:
    (project / "dvc.yaml").unlink()
    if text is not None:
        put("dvc.yaml", text)(project)
    assert find_stage(["tasks.demo"]) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("dvc.yaml", "stages: ["), "dvc.yaml: not YAML:"),
        (put("params.yaml", "embed: ["), "params.yaml: not YAML:"),
        (edit("dvc.yaml", "[embed.size", "[other.yaml: [a], embed.size"), "only keys of params.yaml can be declared"),
        (edit("tasks/helper.py", "TIMES = 1", "def later():\n    import tasks.broken"), "broken.py, line 1: "),
    ],
)
def test_files_that_cannot_be_read_are_named(project: Path, change: Change, message: str) -> None:
    put("tasks/broken.py", "x = \n")(project)
    change(project)
    with pytest.raises(ValueError, match=message):
        stamp(project)


def test_the_content_of_a_folder_that_a_parameter_names_is_an_input(project: Path) -> None:
    name, entry = find_stage(["tasks.demo"]) or ("", {})
    entry = {**entry, "params": ["pull.data"]}
    params = project / "params.yaml"
    document = yaml.safe_load(params.read_text())
    document["pull"] = {"data": {"source": "sample", "path": "own"}}
    params.write_text(yaml.safe_dump(document))
    put("own/train/a.csv", "1\n")(project)

    def own() -> Stamp:
        return Stamp(name, entry, "tasks.demo", ["tasks.scripts.*"], project)

    with own().recorded():
        put("out/a", "text\n")(project)
        put("out.json", "224")(project)
    assert own().difference() is None
    put("own/train/b.csv", "2\n")(project)
    assert own().difference() == "input pull.data.path changed"
