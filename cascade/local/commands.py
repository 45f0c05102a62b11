"""Commands of other packages: entry points name them, and none is imported before it is called or needed."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import typer

GROUP = "streetvision.commands"
# all arguments, --help too, are for the command itself
FORWARD = {"ignore_unknown_options": True, "allow_extra_args": True}


def add_commands(app: typer.Typer) -> None:
    """Add the commands of the group; importing them all would cost every other command half a second."""
    for entry in entry_points(group=GROUP):
        _add(app, entry)


def run_command(name: str, arguments: list[str]) -> None:
    """Run a command of the group under its own name; it ends the process with its exit code."""
    for entry in entry_points(group=GROUP, name=name):
        _run(entry, arguments)
    _refuse(name, "not installed")


def on_cluster() -> bool:
    """Whether section `scale`, which belongs to the pipeline, hands work over many pictures to a cluster.

    Raises:
        ConfigError: the file cannot be read.
    """
    from cascade.config.base import PARAMS_FILE, read_sections

    scale = read_sections(PARAMS_FILE).get("scale")
    return isinstance(scale, dict) and scale.get("engine") == "ray"


def _add(app: typer.Typer, entry: EntryPoint) -> None:
    @app.command(entry.name, help=summary(entry.module), add_help_option=False, context_settings=FORWARD)
    def run(context: typer.Context) -> None:
        _run(entry, context.args)


def _run(entry: EntryPoint, arguments: list[str]) -> None:
    try:
        command = typer.main.get_command(entry.load())
    except ModuleNotFoundError as error:
        if error.name and not error.name.startswith(entry.module.partition(".")[0]):
            # a library that an extra brings: `cascade.cli.main` says which
            raise
        _refuse(entry.name, error)
    except Exception as error:
        _refuse(entry.name, error)
    else:
        command(args=arguments, prog_name=f"streetvision {entry.name}")


def summary(module: str) -> str:
    """Give the first line of a module's docstring without importing it, less what stands before its colon."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return "not installed"
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    line = text.partition("\n")[0].partition(": ")[2]
    return line[:1].upper() + line[1:]


def _refuse(name: str, error: Exception | str) -> NoReturn:
    print(f"streetvision {name} is not available: {error}", file=sys.stderr)
    raise typer.Exit(1) from None
