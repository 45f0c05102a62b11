"""`make bench` from one end to the other, over small benches that are real processes in a real git repository."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import run
from tests.bench.history import HISTORY, Machine, read_history
from tests.bench.measure import Benches, NotMeasuredError, Tree
from tests.bench.rows import BENCHES, Bench, Row
from tests.support.paths import ROOT

# notes that it ran, and writes the samples that the file `ratio` asks for
SCRIPT = """
import json, pathlib, sys
with open("ran", "a") as log:
    print("ran", file=log)
ratio = float(pathlib.Path("ratio").read_text())
if ratio < 0:
    sys.exit("error: no engine")
rows = {"speed": [{"ours": 1.0, "peer": ratio, "ratio": ratio}], "unknown": [{"ours": 1.0}]}
pathlib.Path(sys.argv[-1]).write_text(json.dumps({"rows": rows}))
"""
SPEED = Bench("fast", ("bench.py",), (Row("speed", "an image", "ms", "torch", target=4.0),), 0.01, repeats=2)
OTHER = Bench("other", ("bench.py",), (Row("absent", "a row that nobody writes", "s"),), 0.01, repeats=1)
MACHINE = Machine.this()


def git(folder: Path, *words: str) -> None:
    name = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one bench, committed, as the current folder; nobody else is busy."""
    monkeypatch.setattr("tests.bench.measure.psutil.cpu_percent", lambda _: 5.0)
    folder = tmp_path / "project"
    (folder / "docs").mkdir(parents=True)
    (folder / "tests/bench").mkdir(parents=True)
    for name, text in {
        "bench.py": SCRIPT,
        "ratio": "5.0",
        ".gitignore": "/var/\n/ran\n",
        "docs/bench.md": f"# Speed\n{run.BEGIN}\n{run.END}\n",
    }.items():
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    commit(folder)
    monkeypatch.chdir(folder)
    return folder


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "change")


def ran(folder: Path) -> int:
    """Processes of benches so far."""
    log = folder / "ran"
    return len(log.read_text().splitlines()) if log.is_file() else 0


def test_from_the_first_entry_to_an_accepted_regression(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([], [SPEED]) == 0
    (first,) = read_history()
    assert (first.rows["speed"].ratio, first.rows["speed"].samples) == (5.0, 2)
    assert "![ratios over commits](bench.svg)" in (project / "docs/bench.md").read_text()
    assert json.loads((project / "var/bench/table.json").read_text())["rows"]["speed"]["reached"] is True
    # the same commit, while its history is not committed yet: nothing runs, nothing is kept twice
    assert run.main([], [SPEED]) == 0
    assert (ran(project), len(read_history())) == (2, 1)
    # a fifth worse
    (project / "ratio").write_text("4.0")
    commit(project)
    assert run.main([], [SPEED]) == 1
    assert "speed (an image): ratio 4 (4 to 4), 20.0% worse than 5 of commit" in capsys.readouterr().err
    assert len(read_history()) == 1
    # accepted: what was measured is kept, with a note
    assert run.main(["--accept", "speed"], [SPEED]) == 0
    assert (ran(project), read_history()[-1].accepted) == (4, ("speed",))
    # the next commit is compared with what was accepted
    commit(project)
    assert run.main([], [SPEED]) == 0


@pytest.mark.parametrize(
    ("change", "words", "why"),
    [
        # a changed file, and one that git does not know
        (lambda folder: (folder / "ratio").write_text("6.0"), [], "files differ from"),
        (lambda folder: (folder / "new.py").write_text(""), [], "files differ from"),
        # fewer processes than a figure needs
        (lambda _: None, ["--repeats", "1"], "--repeats"),
    ],
)
def test_what_is_not_kept(
    change: Callable[[Path], object], words: list[str], why: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(project)
    assert run.main(words, [SPEED]) == 0
    assert why in capsys.readouterr().out
    assert not HISTORY.exists()


def test_figures_of_a_busy_machine_are_not_kept_later_either(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as busy:
        busy.setattr("tests.bench.measure.psutil.cpu_percent", lambda _: 60.0)
        assert run.main([], [SPEED]) == 0
    assert run.main([], [SPEED]) == 0
    assert capsys.readouterr().out.count("rows of fast, since others used more than 25% of the cores") == 2
    assert not HISTORY.exists()
    assert run.main(["--again"], [SPEED]) == 0
    assert len(read_history()) == 1


def test_changed_files_are_measured_each_time_and_never_taken_for_the_commit(project: Path) -> None:
    (project / "ratio").write_text("6.0")
    run.main([], [SPEED])
    run.main([], [SPEED])
    assert ran(project) == 4
    git(project, "checkout", "-q", "ratio")
    run.main([], [SPEED])
    assert read_history()[0].rows["speed"].ratio == 5.0


@pytest.mark.parametrize(
    "path", ["docs/bench.md", "reports/embed/metrics.json", "dvc.lock", "tests/bench/history.jsonl"]
)
def test_what_runs_write_is_no_change(path: str, project: Path) -> None:
    (project / path).parent.mkdir(parents=True, exist_ok=True)
    (project / path).write_text("")
    assert not Tree.here().dirty


def test_an_archive_without_git_is_measured_and_not_kept(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / ".git").rename(project.parent / "git")
    assert run.main([], [SPEED]) == 0
    assert "files differ from sources-" in capsys.readouterr().out
    assert not HISTORY.exists()


def test_a_row_that_nobody_measured_fails_unless_it_is_left_out(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([], [SPEED, OTHER]) == 1
    assert "absent: not measured: the bench wrote no figures of it" in capsys.readouterr().err
    assert run.main(["--without", "other"], [SPEED, OTHER]) == 0
    assert run.main(["--only", "fast"], [SPEED, OTHER]) == 0


def test_a_bench_on_demand_runs_when_it_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = replace(SPEED, on_demand=True)
    assert run.main([], [slow]) == 0
    assert ran(project) == 0
    assert "never kept on this kind of machine" in " ".join(capsys.readouterr().out.split())
    assert run.main(["--with", "fast"], [slow]) == 0
    assert ran(project) == 2


@pytest.mark.parametrize(
    ("bench", "said"),
    [
        (replace(SPEED, modules=("litserve_of_nobody",)), "litserve_of_nobody is not installed"),
        (replace(SPEED, files=("models/classifier/classifier.json",)), "classifier.json is missing; `make run`"),
        # the process fails, writes nothing, does not end
        (replace(SPEED, arguments=("-c", "raise SystemExit('error: no engine')")), "exit code 1, error: no engine"),
        (replace(SPEED, arguments=("-c", "pass")), "no figures in"),
        (replace(SPEED, arguments=("-c", "import time; time.sleep(60)"), limit=0.01), "did not end within 0.01 min"),
        # somebody edits meanwhile
        (replace(SPEED, arguments=("-c", f"open('new.py', 'w').close()\n{SCRIPT}")), "files of the project changed"),
    ],
)
def test_why_a_bench_has_no_figures(bench: Bench, said: str, project: Path) -> None:
    runner = Benches(Tree.here(), MACHINE, again=False, say=print)
    with pytest.raises(NotMeasuredError, match=said):
        runner.run(bench, 1)


def test_a_run_goes_on_where_a_process_failed(project: Path) -> None:
    runner = Benches(Tree.here(), MACHINE, again=False, say=print)
    runner.run(SPEED, 1)
    (project / "ratio").write_text("-1")
    with pytest.raises(NotMeasuredError, match="no engine"):
        runner.run(SPEED, 2)
    (project / "ratio").write_text("5.0")
    rows, _ = runner.run(SPEED, 2)
    assert (len(rows["speed"]), ran(project)) == (2, 3)


def test_other_models_are_measured_again(project: Path) -> None:
    """Models are no part of a commit."""
    bench = replace(SPEED, files=("var/model",))
    (project / "var").mkdir()
    for content in ("one", "two"):
        (project / "var/model").write_text(content)
        Benches(Tree.here(), MACHINE, again=False, say=print).run(bench, 1)
    assert ran(project) == 2


def test_a_damaged_history_ends_it_before_anything_is_measured(project: Path) -> None:
    HISTORY.write_text("{}\n")
    with pytest.raises(SystemExit, match=r"history.jsonl, line 1"):
        run.main([], [SPEED])
    assert ran(project) == 0


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.name)
def test_benches_are_modules_that_write_json(bench: Bench) -> None:
    module = ROOT / f"{bench.arguments[1].replace('.', '/')}.py"
    assert "add_json(parser)" in module.read_text(encoding="utf-8")


def test_names_of_rows_are_unique() -> None:
    names = [row.name for bench in BENCHES for row in bench.rows]
    assert len(set(names)) == len(names)
