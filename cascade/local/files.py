"""One file of a person's: predicted, and drawn into the folder of `streetvision predict --save`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cascade.config import RuntimeParams
from cascade.core.cascade import Cascade, Prediction
from cascade.core.router import NoEstimateError
from cascade.display.saving import PictureFolder
from cascade.evaluate.folder import read_image
from cascade.preprocess.image import BadImage
from cascade.video.clip import ClipPrediction, predict_clip
from cascade.video.reader import is_clip

if TYPE_CHECKING:
    from PIL import Image


class InputError(ValueError):
    """One of several files cannot be predicted or drawn; the others can."""


def predict_file(
    cascade: Cascade, path: Path, params: RuntimeParams
) -> tuple[Prediction | ClipPrediction, Image.Image | None]:
    """Predict an image file or a clip, under the service's limits of size.

    Returns:
        The prediction; and of an image its pixels, upright RGB, None of a clip.

    Raises:
        InputError: it cannot be read, is no image or clip, or no stage gives an estimate.
    """
    try:
        with path.open("rb") as file:
            clip = is_clip(file.read(16))
        if clip:
            return predict_clip(cascade, path, params.clips, min_side=params.serve.min_side), None
        image = read_image(path, params.serve)
        return cascade.predict([image])[0], image
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}") from None
    except (BadImage, NoEstimateError) as error:
        raise InputError(str(error)) from None


def save_picture(
    pictures: PictureFolder,
    path: Path,
    prediction: Prediction | ClipPrediction,
    image: Image.Image | None,
    params: RuntimeParams,
) -> Path:
    """Draw what `predict_file` gave, and write it; give the file.

    Raises:
        InputError: it cannot be written, or the clip cannot be read again.
    """
    try:
        if isinstance(prediction, ClipPrediction):
            return pictures.save_clip(path, prediction, params.clips, params.serve.min_side)
        assert image is not None, "predict_file gives the pixels of an image"  # noqa: S101
        return pictures.save_image(path, image, prediction)
    except OSError as error:
        raise InputError(f"its picture cannot be written: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"its picture cannot be drawn: {error}") from None
