"""Pictures as people's cameras and editors write them: each must give the pixels of its plain, upright twin."""

from __future__ import annotations

import io
import logging
import re
import zlib

import numpy as np
import pytest
from PIL import Image

from cascade.preprocess import image as preprocess
from cascade.preprocess.image import BadImage, Decoded, decode, finish, open_image
from cascade.preprocess.strip_metadata import strip
from tests.support import exif, tiny
from tests.support.exif import ORIENTATION, RATIONAL, SHORT, SOFTWARE, TEXT, X_RESOLUTION, into_jpeg, segment

LIMITS = {"max_pixels": 50_000_000, "min_side": 32}
UPRIGHT = tiny.street(tiny.ORANGE, tiny.BLUE)
SIX = {ORIENTATION: (SHORT, [6])}
# pixels as a camera held sideways writes them, and as they are seen
LYING, STANDING = (tiny.encoded(image) for image in (UPRIGHT.transpose(Image.Transpose.ROTATE_90), UPRIGHT))
LYING_PNG = tiny.encoded(UPRIGHT.transpose(Image.Transpose.ROTATE_90), "PNG")
PNG = tiny.encoded(UPRIGHT, "PNG")
TIFF_SIX = exif.block(SIX)
# mean distance of a JPEG from what it was made of; one that lies wrong is 70 away
LOSSY = 2


def webp(data: bytes) -> bytes:
    return tiny.encoded(UPRIGHT.transpose(Image.Transpose.ROTATE_90), "WEBP", lossless=True, exif=data)


def photoshop(content: bytes) -> bytes:
    body = b"Photoshop 3.0\0" + content
    return b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body


def multi_picture(content: bytes) -> bytes:
    body = b"MPF\0" + content
    return b"\xff\xe2" + (len(body) + 2).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        # I1: another tag of an odd type
        (into_jpeg(LYING, segment(exif.block({**SIX, X_RESOLUTION: (TEXT, b"72\0")}))), LOSSY),
        # I2: the Software tag as a fraction
        (into_jpeg(LYING, segment(exif.block({**SIX, SOFTWARE: (RATIONAL, [(1, 3)])}))), LOSSY),
        (into_jpeg(STANDING, segment(exif.block({SOFTWARE: (RATIONAL, [(1, 3)])}))), LOSSY),
        (into_jpeg(LYING, segment(exif.block({**SIX, SOFTWARE: (RATIONAL, [(1, 0)])}, order=">"))), LOSSY),
        # fractions over zero where Pillow reads the resolution
        (into_jpeg(LYING, segment(exif.block({**SIX, X_RESOLUTION: (RATIONAL, [(72, 0)]), 0x128: (SHORT, [2])}))), 2),
        # EXIF twice: the first counts
        (into_jpeg(LYING, segment(TIFF_SIX), segment(exif.block({ORIENTATION: (SHORT, [3])}))), LOSSY),
        # other segments, damaged
        (into_jpeg(LYING, segment(TIFF_SIX), photoshop(b"8BIM\x03\xed\0\0\xff\xff\xff\xff")), LOSSY),
        (into_jpeg(LYING, segment(TIFF_SIX), multi_picture(b"II*\0\x08\0\0\0\xff\xff")), LOSSY),
        (into_jpeg(LYING, segment(TIFF_SIX), multi_picture(exif.block({0xB001: (SHORT, [9])}))), LOSSY),
        # the same tag in the other formats that have it, with the prefix of JPEG and without
        (tiny.png_with(LYING_PNG, (b"eXIf", TIFF_SIX)), 0),
        (tiny.png_with(LYING_PNG, (b"eXIf", b"Exif\0\0" + TIFF_SIX)), 0),
        (LYING_PNG[:-12] + tiny.png_with(LYING_PNG, (b"eXIf", TIFF_SIX))[33:-len(LYING_PNG) + 33] + LYING_PNG[-12:], 0),
        (webp(TIFF_SIX), 0),
        (webp(b"Exif\0\0" + exif.block({**SIX, SOFTWARE: (RATIONAL, [(1, 3)])})), 0),
        # I5: XMP alone turns nothing, in any format
        (into_jpeg(STANDING, segment(exif.xmp(6), b"http://ns.adobe.com/xap/1.0/\0")), LOSSY),
        (tiny.png_with(PNG, (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + exif.xmp(6))), 0),
        (tiny.encoded(UPRIGHT, "WEBP", lossless=True, xmp=exif.xmp(6)), 0),
        # and does not stand against EXIF
        (into_jpeg(LYING, segment(TIFF_SIX), segment(exif.xmp(1), b"http://ns.adobe.com/xap/1.0/\0")), LOSSY),
        # ImageMagick's text is no EXIF to a browser either
        (tiny.png_with(PNG, (b"tEXt", b"Raw profile type exif\0\nexif\n  26\n" + TIFF_SIX.hex().encode())), 0),
        # I3: texts that are huge, too many, or damaged
        (tiny.png_with(PNG, (b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 3_000_000))), 0),
        (tiny.png_with(PNG, (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"x" * 3_000_000))), 0),
        (tiny.png_with(PNG, *[(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 900_000))] * 80), 0),
        (tiny.png_with(PNG, (b"tEXt", b"Comment\0cut"), sound=False), 0),
        (tiny.png_with(PNG, (b"zTXt", b"Comment\0\0no zlib")), 0),
        (tiny.png_with(PNG, (b"iCCP", b"profile\0\0" + zlib.compress(b"x" * 3_000_000))), 0),
        (tiny.png_with(PNG, (b"iCCP", b"profile\0\0"), sound=False), 0),
        (tiny.png_with(PNG, (b"tIME", b"\0"), (b"pHYs", b""), (b"gAMA", b"x"), (b"sRGB", b"")), 0),
        # an eXIf chunk whose checksum is wrong counts as missing
        (tiny.png_with(PNG, (b"eXIf", TIFF_SIX), sound=False), 0),
        # what browsers and phones put behind a picture
        (STANDING + b"\xff\xd8\xff\xe0 a video follows \xff\xda" * 300, LOSSY),
        (PNG + b"trailing words", 0),
    ],
)  # fmt: skip
def test_the_pixels_are_those_of_the_upright_twin(data: bytes, tolerance: int) -> None:
    pixels = np.asarray(decode(data, **LIMITS)).astype(int)
    assert pixels.shape == (300, 400, 3)
    assert np.abs(pixels - np.asarray(UPRIGHT)).mean() <= tolerance
    # the inbox keeps the same picture, without what came along
    stripped = decode(strip(data, **LIMITS), **LIMITS)
    assert np.abs(np.asarray(stripped).astype(int) - np.asarray(UPRIGHT)).mean() <= max(tolerance, LOSSY)
    assert not Image.open(io.BytesIO(strip(data, **LIMITS))).getexif()


@pytest.mark.parametrize("number", range(1, 9))
def test_every_orientation(number: int) -> None:
    """Against Pillow's own table, on a picture whose corners differ."""
    corners = np.zeros((48, 64, 3), np.uint8)
    corners[:24, :32], corners[:24, 32:], corners[24:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    tagged = Image.Exif()
    tagged[ORIENTATION] = number
    data = tiny.encoded(Image.fromarray(corners), "PNG", exif=tagged)
    from PIL import ImageOps

    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(np.asarray(decode(data, **LIMITS)), np.asarray(expected))


def values(high: int, *, low: int = 0) -> np.ndarray:
    return np.linspace(low, high, 64 * 64).reshape(64, 64).round().astype(np.uint16)


@pytest.mark.parametrize(
    ("high", "bits"),
    [
        # the smallest range that holds all values
        (255, 8),
        (256, 10),
        (1023, 10),
        (4000, 12),
        (4095, 12),
        (4096, 14),
        (16383, 14),
        # more than a quarter of the range: 16 bits, however dark
        (16384, 16),
        (65535, 16),
    ],
)
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_sixteen_bits_are_scaled_by_the_range_in_use(high: int, bits: int, colour: bool) -> None:
    wide = values(high)
    data = tiny.png_rgb16(np.stack([wide, wide // 2, wide // 3], -1)) if colour else tiny.png_grey16(wide)
    decoded = finish(open_image(data, **LIMITS))
    pixels = np.asarray(decoded.image).astype(float)
    # colour at full range keeps the upper byte, as Pillow and the subnet's validators do
    assert np.abs(pixels[..., 0] - wide * (255 / (2**bits - 1))).max() <= (1.0 if colour else 0.5)
    if colour:
        assert np.abs(pixels[..., 1] - (wide // 2) * (255 / (2**bits - 1))).max() <= 1.0
    assert decoded.notes == (() if bits == 16 else (f"the file has 16 bits a value and uses {bits}: scaled by those",))


def test_black_at_sixteen_bits_stays_black() -> None:
    assert np.asarray(decode(tiny.png_grey16(values(0)), **LIMITS)).max() == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        # pixels, not text, are damaged
        (tiny.png_with(PNG, (b"IDAT", b"rubbish"), sound=False), "truncated"),
        # a still picture by its header, an animation by its chunk
        (tiny.encoded(UPRIGHT, "PNG", save_all=True, append_images=[tiny.street(tiny.BLUE)]), "animated"),
        (into_jpeg(LYING, segment(TIFF_SIX))[:-400], "truncated"),
    ],
)
def test_damage_to_pixels_is_still_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage) as caught:
        decode(data, **LIMITS)
    assert caught.value.reason == reason


def with_scans(times: int, size: tuple[int, int] = (400, 300)) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    whole = tiny.encoded(UPRIGHT.resize(size), progressive=True)
    last = whole[[found.start() for found in re.finditer(rb"\xff\xda", whole)][-1] : -2]
    return whole[:-2] + last * times + whole[-2:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (with_scans(0), None),
        (with_scans(80), None),
        (with_scans(1000), "too_many_scans"),
        # fewer for a large one
        (with_scans(10, (6000, 5000)), None),
        (with_scans(11, (6000, 5000)), "too_many_scans"),
        # what only looks like scans: a comment, a thumbnail, a video behind the picture
        (into_jpeg(STANDING, b"\xff\xfe\x03\xea" + b"\xff\xda" * 500), None),
        (STANDING + b"\xff\xda" * 5000, None),
        # and one that hides behind another end of the image: nothing behind the first one is decoded
        (with_scans(0)[:-2] + b"\xff\xd9" + with_scans(1000)[2:], None),
    ],
)
def test_a_jpeg_is_gone_over_a_limited_number_of_times(data: bytes, reason: str | None) -> None:
    if reason is None:
        decode(data, **LIMITS)
        return
    with pytest.raises(BadImage) as caught:
        decode(data, **LIMITS)
    assert caught.value.reason == reason


def test_an_unknown_exception_is_a_refusal_and_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Decoded:
        raise AttributeError("Pillow changed its mind")

    caplog.set_level(logging.WARNING, "streetvision")
    for name in ("_load", "_identify"):
        with monkeypatch.context() as patch:
            patch.setattr(preprocess, name, broken)
            with pytest.raises(BadImage, match="Pillow changed its mind") as caught:
                decode(STANDING, **LIMITS)
        assert caught.value.reason == "undecodable"
    assert [record.message for record in caplog.records] == [
        "an image cannot be decoded: AttributeError: Pillow changed its mind"
    ] * 2
