"""The page of all parameters: default, value of the GPU profile, type and meaning."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tasks.config import PARAMS_FILE, Params
from tasks.tools.profile import merge
from tasks.tools.reference.tables import escaped, table

HEAD = """# Parameters

Made from `params.yaml` and the models that check it by `python -m tasks.tools.reference`; do not edit it. The column
`gpu24` is empty where that profile keeps the default. An unknown key is an error that names it.
"""
GROUP = object()  # in place of the value of a key that holds further keys
KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+):(?P<rest>.*)$")


def parameters_page(params: Path = PARAMS_FILE) -> str:
    """Give the page as Markdown; the file's values are the defaults."""
    meanings, default, gpu = comments(params.read_text(encoding="utf-8")), _plain(params), merge("gpu24", {}, params)
    parts = [HEAD]
    for name, value in default.items():
        found = [(key, one) for key, one in leaves(value, name) if one is not GROUP or meanings.get(key)]
        rows = [_row(key, one, gpu, meanings) for key, one in found]
        about = f"\n{_sentence(meanings[name])}\n" if isinstance(value, dict) and meanings.get(name) else ""
        parts += [f"\n## {name}\n{about}", table(["key", "default", "gpu24", "type", "meaning"], rows)]
    return "\n".join(parts).replace("\n\n\n", "\n\n").rstrip() + "\n"


def comments(text: str) -> dict[str, str]:
    """Give the comment of each dotted key of a YAML text; one that goes on below stands at its first key."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    last = ""
    for line in text.splitlines():
        before, _, comment = line.partition(" # ") if " # " in line else (line, "", "")
        key = KEY.match(before)
        if key:
            indent = len(key["indent"])
            path = [one for one in path if one[0] < indent] + [(indent, key["key"])]
            last = ".".join(name for _, name in path)
            found[last] = comment.strip()
        elif comment and not before.strip() and last:
            found[last] = f"{found[last]} {comment.strip()}".strip()
    return found


def leaves(value: Any, name: str) -> list[tuple[str, Any]]:
    """Give the dotted keys below a value, with what they hold; lists are one value, and a group of keys has GROUP."""
    if not isinstance(value, dict) or not value:
        return [(name, value)]
    below = [leaf for key, one in value.items() for leaf in leaves(one, f"{name}.{key}")]
    return [(name, GROUP), *below] if "." in name else below


def type_of(key: str) -> str:
    """Give the type of a dotted key as the models have it, in a reader's words."""
    model: Any = Params
    names = key.split(".")
    for depth, name in enumerate(names):
        field = model.model_fields.get(name) if isinstance(model, type) and issubclass(model, BaseModel) else None
        if field is None:
            return ""
        if depth == len(names) - 1:
            return _words(field.annotation)
        model = _model_in(field.annotation)
    return ""


def _model_in(annotation: Any) -> Any:
    """The model of an annotation such as `InboxParams | None`."""
    options = getattr(annotation, "__args__", ()) if not isinstance(annotation, type) else ()
    return next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), annotation)


def _words(annotation: Any) -> str:
    text = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    text = re.sub(r"\b(?:typing|pathlib|collections\.abc|tasks|cascade)\.(?:[\w]+\.)*", "", text)
    text = re.sub(r"Literal\[([^\]]*)\]", lambda found: found[1].replace("'", "").replace(", ", ", "), text)
    return text.replace("NoneType", "null").replace("None", "null")


def _row(key: str, value: Any, gpu: Any, meanings: dict[str, str]) -> list[str]:
    if value is GROUP:
        return [f"`{key}`", "", "", "", escaped(meanings.get(key, ""))]
    return [
        f"`{key}`",
        _shown(value),
        _shown(other) if (other := _at(gpu, key)) != value else "",
        escaped(type_of(key)),
        escaped(meanings.get(key, "")),
    ]


def _at(document: Any, key: str) -> Any:
    for name in key.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _shown(value: Any) -> str:
    # JSON is YAML too, and has no names of Python's
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{text.replace('|', chr(92) + '|')}`" if text else "empty"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ":")) else ".")


def _plain(params: Path) -> dict[str, Any]:
    import yaml

    document: dict[str, Any] = yaml.safe_load(params.read_text(encoding="utf-8"))
    return document
