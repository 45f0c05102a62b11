"""Stripping: nothing personal stays, and no pixel changes where none has to."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cascade.preprocess.image import BadImage, decode
from cascade.preprocess.strip_metadata import strip
from tests.support import bad_images, tiny

LIMITS = {"max_pixels": 1_000_000, "min_side": 32}
SECRET = b"Jane Roe, 52.5200 N 13.4050 E"


def noisy(mode: str = "RGB") -> Image.Image:
    """A picture whose every pixel matters."""
    pixels = np.random.default_rng(3).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def tagged(**options: object) -> bytes:
    """A JPEG with the secret in EXIF, in a comment and behind the end."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    return tiny.encoded(noisy(), exif=exif, comment=SECRET, **options) + SECRET


def png_with_text() -> bytes:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Author", SECRET.decode())
    return tiny.encoded(noisy(), "PNG", pnginfo=info)


@pytest.mark.parametrize(
    ("name", "reason"),
    [(name, case[2]) for name, case in bad_images.BAD.items() if case[2] not in ("too_large",)],
)
def test_what_cannot_be_decoded_is_refused_or_stays_undecodable(name: str, reason: str) -> None:
    """A cut JPEG may pass, since its pixels are copied and not decoded; it must not turn into a sound picture."""
    with pytest.raises(BadImage) as caught:
        decode(strip(bad_images.BAD[name][0], **LIMITS), **LIMITS)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "data",
    [
        tagged(),
        # several scans, with tables between them
        tagged(progressive=True),
        tagged(optimize=True, subsampling=0),
        # restart markers inside the scan
        tagged(restart_marker_blocks=2),
        # a colour profile
        tagged(icc_profile=SECRET * 400),
        # four colours: the Adobe segment tells that they are inverted
        tiny.encoded(noisy("CMYK")),
        tiny.encoded(noisy("L")),
    ],
    ids=["plain", "progressive", "optimized", "restarts", "profile", "cmyk", "grey"],
)
def test_an_upright_jpeg_keeps_every_pixel(data: bytes) -> None:
    written = strip(data, **LIMITS)
    assert SECRET not in written
    assert np.array_equal(np.asarray(decode(written, **LIMITS)), np.asarray(decode(data, **LIMITS)))
    assert strip(written, **LIMITS) == written


@pytest.mark.parametrize("data", [png_with_text(), tiny.sideways(noisy())], ids=["png", "turned"])
def test_other_pictures_are_written_upright(data: bytes) -> None:
    written = strip(data, **LIMITS)
    with Image.open(io.BytesIO(written)) as image:
        assert (image.format, image.size, dict(image.getexif())) == ("JPEG", (128, 96), {})
    assert SECRET not in written
    gap = np.asarray(decode(written, **LIMITS), dtype=float) - np.asarray(decode(data, **LIMITS), dtype=float)
    # pure noise is the worst for JPEG; a picture that lies wrong differs by 85 on average
    assert np.abs(gap).mean() < 20


def test_a_thumbnail_goes_too() -> None:
    """A JFIF header with a 2x2 thumbnail, as some cameras write."""
    data = tiny.encoded(noisy())
    assert data[2:4] == b"\xff\xe0"
    with_thumbnail = (
        data[:2] + b"\xff\xe0\x00\x1cJFIF\0\x01\x01\x00\x00\x01\x00\x01\x02\x02" + b"faces here!!" + data[20:]
    )
    assert b"faces here" not in strip(with_thumbnail, **LIMITS)
