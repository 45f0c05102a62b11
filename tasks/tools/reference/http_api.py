"""The page of the HTTP interface, made from the service's OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tasks.tools.reference.tables import escaped, table

HEAD = """# HTTP interface

Made from `/openapi.json` of the service by `python -m tasks.tools.reference --url`; do not edit it.
[service](../service.md) has keys, limits and the Python client.
"""
Json = dict[str, Any]


def http_api_page(document: Json) -> str:
    """Give the page as Markdown."""
    parts = [HEAD]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += [f"\n## {method.upper()} {path}\n", *_operation(operation)]
    parts += ["\n## Shapes\n", *_shapes(document.get("components", {}).get("schemas", {}))]
    return "\n".join(parts).rstrip() + "\n"


def _operation(operation: Json) -> Iterator[str]:
    if operation.get("description"):
        yield f"{operation['description']}\n"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body `{kind}`: {_type(content.get('schema', {}))}.\n"
    yield table(["status", "meaning", "body"], [_response(*one) for one in operation["responses"].items()])
    if example := _content(operation["responses"].get("200", {})).get("example"):
        yield f"\n```json\n{json.dumps(example, indent=2)}\n```"


def _response(status: str, response: Json) -> list[str]:
    content = _content(response)
    reason = content.get("example", {}).get("error", {}).get("reason")
    meaning = escaped(response.get("description", "")) + (f" (`{reason}`, for example)" if reason else "")
    return [status, meaning, _type(content.get("schema", {})) or "text"]


def _content(response: Json) -> Json:
    content: Json = next(iter(response.get("content", {}).values()), {})
    return content


def _shapes(schemas: Json) -> Iterator[str]:
    for name, schema in schemas.items():
        if not schema.get("properties"):
            continue
        yield f"\n### {name}\n\n{_paragraph(schema.get('description', ''))}\n"
        needed = schema.get("required", [])
        rows = [
            [f"`{key}`", _type(one), "always" if key in needed else ""] for key, one in schema["properties"].items()
        ]
        yield table(["key", "type", ""], rows)


def _paragraph(text: str) -> str:
    """The text before the list of attributes, which the table has."""
    return escaped(text.partition("Attributes:")[0])


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_type(one) for one in schema[key])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", ""))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}" + (
            f", {schema['maxItems']} at most" if "maxItems" in schema else ""
        )
    if kind == "object" and schema.get("properties"):
        return "object with " + ", ".join(f"`{key}` ({_type(one)})" for key, one in schema["properties"].items())
    words = {"string": "text", "null": "null", "integer": "integer", "number": "number", "boolean": "true or false"}
    return words.get(kind, kind) + (" (file)" if schema.get("format") == "binary" else "")
