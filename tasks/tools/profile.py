"""Switch the profile: `python -m tasks.tools.profile gpu24 --set pull.data.revision=<hash>` rewrites params.yaml.

A profile is a small file of dotted keys in tasks/profiles. Comments and all other keys of params.yaml stay as they are;
the result is checked before it takes the old file's place.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from tasks.common.files import write_bytes
from tasks.config import PARAMS_FILE, ConfigError, load_params

PROFILES = Path(__file__).parent / "profiles"


def names() -> list[str]:
    """The profiles there are."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def switch(name: str, changes: dict[str, Any], params: Path = PARAMS_FILE) -> None:
    """Rewrite a parameter file for a profile.

    Args:
        name: one of `names()`.
        changes: dotted keys and values on top of the profile's.
        params: the file.

    Raises:
        ConfigError: a key is unknown, or the result does not fit; the file is untouched.
    """
    text = io.StringIO()
    _yaml().dump(merge(name, changes, params), text)
    _check(text.getvalue(), name)
    write_bytes(params, text.getvalue().encode())


def _check(text: str, name: str) -> None:
    """Refuse parameters that do not fit; they never lie beside params.yaml, where DVC and git would find them."""
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / PARAMS_FILE.name
        candidate.write_text(text, encoding="utf-8")
        try:
            load_params(candidate)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(candidate), f"profile {name}")) from None


def merge(name: str | None, changes: dict[str, Any], params: Path = PARAMS_FILE) -> Any:
    """The content of a parameter file under a profile, unchecked, as `switch` writes it; None leaves the file's own.

    Raises:
        ConfigError: a key is unknown, or there is no such file.
    """
    yaml = _yaml()
    try:
        document = yaml.load(params.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{params}: no such file; run from the project's root") from None
    profile = yaml.load((PROFILES / f"{name}.yaml").read_text(encoding="utf-8")) if name else {}
    for key, value in {**({"profile": name} if name else {}), **profile, **changes}.items():
        _put(document, key, value)
    return document


def _yaml() -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Spelt(RoundTripRepresenter):
        """Writes null where ruamel leaves the value out, so that unchanged lines stay as they are."""

    Spelt.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml = YAML()
    yaml.preserve_quotes, yaml.width, yaml.Representer = True, 200, Spelt
    return yaml


def _put(document: Any, dotted: str, value: Any) -> None:
    """Set a key that is there.

    Raises:
        ConfigError: the key is unknown.
    """
    *above, last = dotted.split(".")
    for key in above:
        document = document.get(key) if isinstance(document, dict) else None
    if not isinstance(document, dict) or last not in document:
        raise ConfigError(f"{dotted}: params.yaml has no such key")
    _end_comment(document, last)
    document[last] = value


def _end_comment(document: Any, key: str) -> None:
    """End the comment behind a key at the end of its line.

    Behind a key whose value begins on the next line, as DVC writes lists, ruamel expects lines of comment before the
    first item; a value on the same line would then swallow the key that follows.
    """
    comments = document.ca.items.get(key)
    if comments and len(comments) > 3:
        comments[3] = None


def read_change(text: str) -> tuple[str, Any]:
    """`key=value` of a command line, its value as YAML reads it."""
    from ruamel.yaml import YAML

    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text}: expected key=value")
    return key, YAML(typ="safe").load(value)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tasks.tools.profile", description=__doc__)
    parser.add_argument("name", choices=names())
    parser.add_argument("--set", dest="changes", type=read_change, action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    try:
        switch(options.name, dict(options.changes))
    except ConfigError as error:
        print(f"profile: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
