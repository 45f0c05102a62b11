"""One file of a person's: predicted, and drawn into the folder of `streetvision predict --save`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cascade.config import RuntimeParams
from cascade.core.cascade import Cascade, Prediction
from cascade.core.router import NoEstimateError
from cascade.decoding.files import is_clip_file, read_picture
from cascade.decoding.pool import Decoders
from cascade.display.saving import PictureFolder
from cascade.preprocess.image import BadImage
from cascade.video.clip import ClipPrediction, limits_of, predict_clip

if TYPE_CHECKING:
    from PIL import Image


class InputError(ValueError):
    """One of several files cannot be predicted or drawn; the others can."""


def predict_file(
    cascade: Cascade, path: Path, params: RuntimeParams, decoders: Decoders
) -> tuple[Prediction | ClipPrediction, Image.Image | None]:
    """Predict an image file or a clip, under the service's limits of size.

    Returns:
        The prediction; and of an image its pixels, upright RGB, None of a clip.

    Raises:
        InputError: it cannot be read, is no image or clip, or no stage gives an estimate.
    """
    try:
        if is_clip_file(path):
            limits, least = params.clips, params.serve.min_side
            return predict_clip(cascade, path, limits, min_side=least, opener=decoders.open_clip), None
        picture = read_picture(path, params.serve, decoders)
        return cascade.predict([picture.image])[0].noted(picture.notes), picture.image
    except (BadImage, NoEstimateError) as error:
        raise InputError(str(error)) from None


def save_picture(
    pictures: PictureFolder,
    path: Path,
    prediction: Prediction | ClipPrediction,
    image: Image.Image | None,
    params: RuntimeParams,
    decoders: Decoders,
) -> Path:
    """Draw what `predict_file` gave, and write it; give the file.

    Raises:
        InputError: it cannot be written, or the clip cannot be read again.
    """
    try:
        if isinstance(prediction, ClipPrediction):
            with decoders.open_clip(path, limits_of(params.clips, params.serve.min_side)) as clip:
                return pictures.save_clip(path, prediction, (frame for _, frame in clip.frames()))
        assert image is not None, "predict_file gives the pixels of an image"  # noqa: S101
        return pictures.save_image(path, image, prediction)
    except OSError as error:
        raise InputError(f"its picture cannot be written: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"its picture cannot be drawn: {error}") from None
