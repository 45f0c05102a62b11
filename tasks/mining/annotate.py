"""Batches to CVAT or Label Studio and back, by FiftyOne's own annotation API."""

from __future__ import annotations

import os
import re
from typing import Any

from tasks.mining.tags import ANSWER, LABEL_TAGS

CHOICES = [*LABEL_TAGS, "reject"]
# FiftyOne reads these variables too, but falls back to a public server where the first is missing: pictures of people's
# streets must not go there for want of a setting
SETTINGS = {
    "cvat": {"url": "FIFTYONE_CVAT_URL", "username": "FIFTYONE_CVAT_USERNAME", "password": "FIFTYONE_CVAT_PASSWORD"},
    "labelstudio": {"url": "FIFTYONE_LABELSTUDIO_URL", "api_key": "FIFTYONE_LABELSTUDIO_API_KEY"},
}


class AnnotationError(RuntimeError):
    """An annotation server is not set up, does not answer, or refuses."""


def settings(backend: str) -> dict[str, str]:
    """Address and credentials of a backend, from the environment.

    Raises:
        AnnotationError: names the variables that are missing, or the backends that there are.
    """
    if backend not in SETTINGS:
        raise AnnotationError(f"{backend}: expected one of {', '.join(SETTINGS)}")
    names = SETTINGS[backend]
    missing = [variable for variable in names.values() if not os.environ.get(variable)]
    if missing:
        raise AnnotationError(f"{backend}: set {', '.join(missing)}")
    return {name: os.environ[variable] for name, variable in names.items()}


def run_key(backend: str, batch: str) -> str:
    """The name of an annotation run, in the characters that FiftyOne accepts."""
    return f"{backend}_{re.sub('[^0-9a-zA-Z]', '_', batch)}"


def send(view: Any, backend: str, batch: str) -> str:
    """Upload a view's pictures for classification and give the run's name.

    Raises:
        AnnotationError: the server is not set up, does not answer, or refuses; or the batch is there already.
    """
    given = settings(backend)
    key = run_key(backend, batch)
    if view._dataset.has_annotation_run(key):
        raise AnnotationError(f"{key}: this batch was sent already; `streetvision review {batch} --import` fetches it")
    try:
        view.annotate(
            key,
            backend=backend,
            label_field=ANSWER,
            label_type="classification",
            classes=CHOICES,
            launch_editor=False,
            **given,
        )
    except Exception as error:
        _forget(view._dataset, key)
        raise AnnotationError(f"{backend} at {given['url']}: {_safe(error, given)}") from None
    return key


def fetch(dataset: Any, backend: str, batch: str) -> None:
    """Bring the answers of an annotation run into the dataset, beside the tags.

    Raises:
        AnnotationError: the batch was not sent, or the server does not answer.
    """
    given = settings(backend)
    key = run_key(backend, batch)
    if not dataset.has_annotation_run(key):
        raise AnnotationError(f"{key}: not sent yet; `streetvision review {batch} --annotate {backend}` does")
    try:
        dataset.load_annotations(key, unexpected="ignore", **given)
    except Exception as error:
        raise AnnotationError(f"{backend} at {given['url']}: {_safe(error, given)}") from None


def _forget(dataset: Any, key: str) -> None:
    """Remove FiftyOne's note of a run that failed, so that the next one may take its name."""
    if dataset.has_annotation_run(key):
        dataset.delete_annotation_run(key)


def _safe(error: Exception, given: dict[str, str]) -> str:
    """The text of an error without credentials, which must not stand in a log."""
    text = f"{type(error).__name__}: {error}"
    for name in ("password", "api_key"):
        text = text.replace(given.get(name) or "\0", "***")
    return text
