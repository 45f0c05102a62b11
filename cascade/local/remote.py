"""Files of a person's, predicted by a service elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from cascade.client import Client, RefusedError
from cascade.core.cascade import Prediction
from cascade.decoding.files import is_clip_file
from cascade.local.files import InputError
from cascade.preprocess.image import BadImage
from cascade.video.clip import ClipPrediction


def key_of(variable: str | None) -> str:
    """Give the key that an environment variable holds; empty without a variable.

    Raises:
        InputError: it is not set.
    """
    if variable is None:
        return ""
    if not (key := os.environ.get(variable)):
        raise InputError(f"--key-env {variable}: the variable is not set")
    return key


def predict_remote(client: Client, path: Path) -> Prediction | ClipPrediction:
    """Send an image file or a clip to the service.

    Raises:
        InputError: it cannot be read, or the service refuses it.
        ClientError: no service answers.
    """
    try:
        if is_clip_file(path):
            return client.predict_clip(path.read_bytes())
        return client.predict([path.read_bytes()]).results[0]
    except BadImage as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}") from None
    except RefusedError as error:
        if error.index is None and error.status in (401, 429, 503):
            raise
        raise InputError(str(error)) from None
