"""What a stage leaves behind, as pages in the Prefect UI: metrics as a table, pictures as markdown."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.dvc.errors import PipelineError
from flows.dvc.graph import DvcStage

PICTURE_SIDE = 900  # px; an artifact is a database row, so a picture is shrunk to what a page shows


def artifact_key(*parts: str) -> str:
    """A key that Prefect takes: lowercase letters, digits, dashes. One key is one page with all its versions."""
    words = "-".join(parts).lower()
    return "-".join("".join(sign if sign.isascii() and sign.isalnum() else " " for sign in words).split())


def flatten(document: dict[str, object], above: str = "") -> dict[str, float | int | str | bool | None]:
    """Nested mappings as one, keys joined by dots; lists become their JSON text."""
    flat: dict[str, float | int | str | bool | None] = {}
    for key, value in document.items():
        name = f"{above}{key}"
        if isinstance(value, dict):
            flat.update(flatten(value, f"{name}."))
        else:
            plain = value is None or isinstance(value, float | int | str | bool)
            flat[name] = value if plain else json.dumps(value)  # type: ignore[assignment]
    return flat


def publish_metrics(stage: DvcStage) -> None:
    """One table artifact a metrics file, under the key `<stage>-metrics`; of all figures where a file beside has them.

    Raises:
        PipelineError: the file is not a JSON object.
    """
    for tracked in stage.metrics:
        path = full if (full := tracked.with_name("metrics.json")).is_file() else tracked
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise PipelineError(f"{path}: expected a JSON object of numbers, found {type(document).__name__}")
        rows = [{"metric": name, "value": value} for name, value in flatten(document).items()]
        suffix = "" if len(stage.metrics) == 1 else path.stem
        create_table_artifact(table=rows, key=artifact_key(stage.name, suffix, "metrics"), description=str(path.name))


def publish_pages(stage: DvcStage) -> None:
    """One markdown artifact a page that the stage wrote beside its metrics, under the key `<stage>-<page>`."""
    for path in (page for metrics in stage.metrics for page in sorted(metrics.parent.glob("*.md"))):
        create_markdown_artifact(markdown=path.read_text(encoding="utf-8"), key=artifact_key(stage.name, path.stem))


def publish_pictures(stage: DvcStage) -> None:
    """One markdown artifact a picture, under the key `<stage>-<picture>`."""
    for path in stage.pictures():
        text = f"# {stage.name}: {path.stem}\n\n![{path.stem}]({data_uri(path)})\n\nFile: `{path}`\n"
        create_markdown_artifact(markdown=text, key=artifact_key(stage.name, path.stem))


def data_uri(path: Path) -> str:
    """A picture as a `data:` address, which the UI shows; an image artifact would need a public URL."""
    if path.suffix.lower() == ".svg":
        return _address("svg+xml", path.read_bytes())
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB")
        small.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        buffer = BytesIO()
        small.save(buffer, format="PNG", optimize=True)
    return _address("png", buffer.getvalue())


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
