"""Commands of other packages: they come by entry point, and a broken one leaves the rest at work."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import pytest
from typer.testing import CliRunner

from cascade import cli


def test_review_is_a_command() -> None:
    assert [one.value for one in entry_points(group=cli.COMMANDS) if one.name == "review"] == ["tasks.tools.review:app"]
    done = CliRunner().invoke(cli.app, ["review", "--help"])
    assert (done.exit_code, "--import" in done.stdout) == (0, True)


def test_a_broken_command_is_named_and_the_others_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = EntryPoint("mend", "tasks.nothing_here:app", cli.COMMANDS)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [broken])
    cli._add_commands()
    assert "streetvision mend is not available: No module named 'tasks.nothing_here'" in capsys.readouterr().err
    assert CliRunner().invoke(cli.app, ["predict", "--help"]).exit_code == 0
