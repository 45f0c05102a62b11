"""The page of the command line: every command of `streetvision` with its arguments and options."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

from tasks.tools.reference.tables import escaped, table

HEAD = """# Command line

Made from the commands by `python -m tasks.tools.reference`; do not edit it. Commands end with exit code 0,
with 1 where something is wrong with what they were given or found, and with 2 where they were called wrongly.
`make help` lists the targets of the Makefile.
"""


def command_line_page() -> str:
    """Give the page as Markdown."""
    return (
        "\n".join([HEAD, *(line for name, command in commands() for line in _describe(name, command))]).rstrip() + "\n"
    )


def commands() -> list[tuple[str, Any]]:
    """Give the commands by name, those of other packages too: click's objects, as `streetvision` runs them."""
    import typer

    from cascade.cli import app
    from cascade.local.commands import GROUP

    own: dict[str, Any] = dict(getattr(typer.main.get_command(app), "commands", {}))
    others = {entry.name: typer.main.get_command(entry.load()) for entry in entry_points(group=GROUP)}
    return sorted({**own, **others}.items())


def _describe(name: str, command: Any) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if below:
        yield f"\n## streetvision {name}\n\n{_help(command)}\n"
        for other, one in sorted(below.items()):
            yield from _describe(f"{name} {other}", one)
        return
    level = "##" if " " not in name else "###"
    yield f"\n{level} streetvision {name}\n\n{_help(command)}\n"
    if rows := [_parameter(one) for one in command.params if not _is_hidden(one)]:
        yield table(["argument or option", "default", "meaning"], rows)


def _help(command: Any) -> str:
    return "\n".join(line.strip() for line in (command.help or "").partition("\f")[0].strip().splitlines())


def _is_hidden(parameter: Any) -> bool:
    return parameter.name in ("help", "install_completion", "show_completion") or getattr(parameter, "hidden", False)


def _parameter(parameter: Any) -> list[str]:
    names = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar or parameter.name.upper()]
    default = parameter.default
    is_plain = isinstance(default, str | int | float) and not isinstance(default, bool)
    return [
        ", ".join(f"`{name}`" for name in [*names, *parameter.secondary_opts]),
        f"`{default}`" if is_plain else ("required" if parameter.required else ""),
        escaped(getattr(parameter, "help", None) or ""),
    ]
