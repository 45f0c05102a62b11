"""Training, validation, engine calibration and service see the very same numbers of the same picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.preprocess.image import decode
from cascade.preprocess.pixels import square
from cascade.stages.classifier import ClassifierStage
from tasks.data.schema import split_file
from tasks.data.views import WIRE_QUALITY, View, make_view
from tasks.optimize.calibration_images import calibration_images
from tasks.validation.predictions import ChallengeView, challenge_views
from tests.support import tiny
from tests.support.drawn import encode, row, street, write_parquet

SEED = 7
LIMITS = {"max_pixels": 10**9, "min_side": 1}


class Recorder:
    """Stands where the engine stands and keeps what it is given."""

    def __init__(self, contract: object) -> None:
        self.contract, self.seen = contract, np.zeros(0, dtype=np.uint8)

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.seen = batch
        return np.zeros(len(batch), dtype=np.float32)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> ClassifierStage:
    loaded = ClassifierStage(tiny.write_classifier(tmp_path_factory.mktemp("classifier")))
    loaded.load()
    return loaded


def served(stage: ClassifierStage, data: bytes) -> np.ndarray:
    """What reaches the engine when these bytes are sent to the service."""
    real, recorder = stage.engine, Recorder(stage.engine.contract)
    stage._engine = recorder  # type: ignore[assignment]
    try:
        stage.predict([decode(data, **LIMITS)])
    finally:
        stage._engine = real
    return recorder.seen[0]


def of_kind(kind: str) -> bytes:
    """One drawn street as a file."""
    image = street(3, cones=3)[0]
    match kind:
        case "wide":
            return encode(image.resize((640, 360)), quality=85)
        case "tall":
            return encode(image.resize((241, 517)), quality=85)
        case "already square":
            return encode(image.resize((224, 224)), "PNG")
        case "small":
            return encode(image.resize((50, 41)), "PNG")
        case "grey":
            return encode(image.convert("L"), "PNG")
        case "turned by EXIF":
            return tiny.sideways(image)
        case _:
            return encode(image.convert("RGBA"), "PNG")


KINDS = ["wide", "tall", "already square", "small", "grey", "turned by EXIF", "with alpha"]


def table(folder: Path, split: str, data: bytes) -> None:
    """A split of one picture."""
    write_parquet(split_file(folder, split), [row(3, 1, split, data=data).to_record()])


@pytest.mark.parametrize("kind", KINDS)
def test_a_validators_picture_is_the_same_to_the_last_bit(stage: ClassifierStage, tmp_path: Path, kind: str) -> None:
    data, plain = of_kind(kind), View(0, 0, False)
    image = decode(data, **LIMITS)
    # what a validator sends: the centre square as a JPEG file
    stream = io.BytesIO()
    square(image, 224).save(stream, "JPEG", quality=WIRE_QUALITY)
    trained, _ = make_view(image, plain, key="any", seed=SEED, size=224)
    table(tmp_path, "challenge", data)
    validated = next(shot for shot in _validation(tmp_path) if shot.level == 0).pixels
    assert np.array_equal(trained, served(stage, stream.getvalue()))
    assert np.array_equal(trained, validated)


@pytest.mark.parametrize("kind", KINDS)
def test_engines_are_calibrated_on_what_the_service_sees(stage: ClassifierStage, tmp_path: Path, kind: str) -> None:
    data = of_kind(kind)
    table(tmp_path, "calibration", data)
    assert np.array_equal(calibration_images(tmp_path, 1, 224, prior=None).pixels[0], served(stage, data))


def test_another_filter_would_be_noticed(stage: ClassifierStage) -> None:
    image = decode(of_kind("wide"), **LIMITS)
    side = min(image.size)
    left = (image.width - side) // 2
    other = image.crop((left, 0, left + side, side)).resize((224, 224), Image.Resampling.BILINEAR)
    assert not np.array_equal(np.asarray(other), served(stage, of_kind("wide")))


def _validation(folder: Path) -> list[ChallengeView]:
    from tasks.config import ValidateParams

    params = ValidateParams(views=1, bootstrap=100, confidence=0.95, seed=SEED, min_mcc=0, min_accuracy=0)
    return list(challenge_views(split_file(folder, "challenge"), params, 224))
