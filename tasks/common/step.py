"""The command line that all DVC steps share: arguments, parameters, errors, and no second run for the same result.

A step module ends like this one, tasks/embed.py:

    def _flags(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--new", action="store_true", help="embed what synthesis and mining add")

    def _run(params: Params, options: argparse.Namespace) -> object:
        return (embed_new if options.new else embed)(params.embed)

    main = step_main("embed", _run, __doc__, flags=_flags)

    if __name__ == "__main__":
        sys.exit(main())

When the command line is that of a stage in dvc.yaml (`python -m tasks.embed --new` is embed_new), the step first looks
at the stamp of the last run (tasks/common/stamp.py): where nothing changed that bears on the result, the outputs are
kept. Any other command line, as one with `--ship`, and one outside a project, just runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from tasks.common.stamp import Stamp, find_stage

if TYPE_CHECKING:
    from tasks.config import Params

FORCE = "--force"
KEPT = f"inputs, parameters and code are those of the last run; its outputs are kept ({FORCE} runs it all the same)"


class Main(Protocol):
    """The command line of a step."""

    def __call__(self, arguments: list[str] | None = None) -> int:
        """Run it with these arguments, or those of the process, and give the exit code."""
        ...


def step_main(
    name: str,
    run: Callable[[Params, argparse.Namespace], Any],
    doc: str | None,
    *,
    flags: Callable[[argparse.ArgumentParser], None] | None = None,
    errors: tuple[type[Exception], ...] = (),
    scripts: Sequence[str] = (),
) -> Main:
    """Make the command line of the step `tasks.<name>`.

    Args:
        name: of the module; messages on stderr begin with it.
        run: does the work; gets all of params.yaml and the parsed arguments. What it returns is printed: text as it
            is, anything else as JSON, None not at all.
        doc: the module's docstring, for `--help`.
        flags: adds the step's own arguments to the parser.
        errors: what else than ValueError and OSError stands for bad input. Bad input is a message on stderr and exit
            code 1, and so is a library of an extra that is not installed; any other exception is a defect and shows
            where it comes from.
        scripts: modules that the step starts in an environment of their own, where no import leads to them; see
            `tasks.common.cache_key.cache_key`.
    """
    caught: tuple[type[Exception], ...] = (ValueError, OSError, *errors)

    def main(arguments: list[str] | None = None) -> int:
        given = sys.argv[1:] if arguments is None else arguments
        options = _parser(name, doc, flags).parse_args(given)
        try:
            result = _run_or_keep(name, run, options, given, scripts)
        except caught as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        except ModuleNotFoundError as error:
            from cascade.extras import explain

            if (line := explain(error, "this step")) is None:
                raise
            print(f"{name}: {line}", file=sys.stderr)
            return 1
        if result is not None:
            print(result if isinstance(result, str) else json.dumps(result, indent=1, ensure_ascii=False, default=str))
        return 0

    return main


def _parser(name: str, doc: str | None, flags: Callable[[argparse.ArgumentParser], None] | None) -> Any:
    parser = argparse.ArgumentParser(prog=f"python -m tasks.{name}", description=doc)
    parser.add_argument(FORCE, action="store_true", help="run although nothing changed since the last run")
    if flags is not None:
        flags(parser)
    return parser


def _run_or_keep(
    name: str,
    run: Callable[[Params, argparse.Namespace], Any],
    options: argparse.Namespace,
    given: Sequence[str],
    scripts: Sequence[str],
) -> Any:
    """Run the step, except where the stamp of its stage says that the same would come out."""
    stage = find_stage([f"tasks.{name}", *(argument for argument in given if argument != FORCE)])
    stamp = None if stage is None else Stamp(*stage, f"tasks.{name}", scripts)
    if stamp is not None and not options.force:
        why = stamp.difference()
        if why is None:
            return f"{name}: {KEPT}"
        print(f"{name}: runs, since {why}", flush=True)
    # loads pydantic and all sections; a step that has nothing to do ends without
    from tasks.config import load_params

    params = load_params()
    with nullcontext() if stamp is None else stamp.recorded():
        return run(params, options)
