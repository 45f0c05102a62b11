"""Commands of other packages: they come by entry point, and a broken one leaves the rest at work."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points

import pytest
import typer
from typer.testing import CliRunner

from cascade import cli
from cascade.local.commands import GROUP, add_commands, summary


def test_review_is_a_command() -> None:
    assert [one.value for one in entry_points(group=GROUP) if one.name == "review"] == ["tasks.tools.review:app"]
    done = CliRunner().invoke(cli.app, ["review", "--help"])
    assert (done.exit_code, "--import" in done.stdout) == (0, True)
    # and what it refuses is told as by a command of ours
    done = CliRunner().invoke(cli.app, ["review", "--nonsense"])
    assert (done.exit_code, "No such option: --nonsense" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        # a package that is not there, and one whose import fails
        ("tasks.nothing_here", "No module named 'tasks.nothing_here'"),
        ("tests.support.broken_command", "division by zero"),
    ],
)
def test_a_broken_command_is_named_and_the_others_work(
    monkeypatch: pytest.MonkeyPatch, module: str, message: str
) -> None:
    broken = EntryPoint("mend", f"{module}:app", GROUP)
    monkeypatch.setattr("cascade.local.commands.entry_points", lambda **_: [broken])
    app = typer.Typer()
    app.command("predict")(lambda: print("predicted"))
    add_commands(app)
    done = CliRunner().invoke(app, ["mend"])
    assert (done.exit_code, done.stderr) == (1, f"streetvision mend is not available: {message}\n")
    assert CliRunner().invoke(app, ["predict"]).stdout == "predicted\n"
    assert "mend" in CliRunner().invoke(app, ["--help"]).stdout


def test_help_lists_commands_that_it_does_not_import() -> None:
    code = (
        "import sys, cascade.cli\n"
        "heavy = {'tasks.config', 'tasks.tools.review', 'pydantic', 'numpy', 'torch'}\n"
        "try: cascade.cli.app(['--help'])\n"
        "finally: print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *text, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    assert any("review" in line and "FiftyOne" in line for line in text)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (
            "tasks.tools.download",
            "Every model of a profile from the Hugging Face Hub, at pinned revisions, after asking.",
        ),
        ("tasks.nothing_here", "not installed"),
        ("nothing.here", "not installed"),
    ],
)
def test_summary(module: str, line: str) -> None:
    assert summary(module) == line
