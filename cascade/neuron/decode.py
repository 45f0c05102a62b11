"""From the text of a challenge to the bytes of its picture, with the limits that come before decoding."""

from __future__ import annotations

from cascade.base64_text import decode_base64

# line breaks of MIME are one character in 38, and a data URL has some 200 more
SPACE = 1.1
PREFIX = 300


class BadChallengeError(ValueError):
    """A challenge without a picture.

    Attributes:
        reason: one word, for metrics.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def decode_picture(text: str, max_bytes: int) -> bytes:
    """Give the picture's file; the service turns it by its EXIF orientation and decodes it.

    Args:
        text: base64, from a data URL or in lines too.
        max_bytes: of the file.

    Raises:
        BadChallengeError: empty, too large, or not base64.
    """
    if not text.strip():
        raise BadChallengeError("empty", "the challenge has no picture")
    if len(text) > most_characters(max_bytes):
        raise BadChallengeError("too_large", f"{len(text)} characters are more than {max_bytes} bytes need")
    try:
        data = decode_base64(text)
    except ValueError:
        raise BadChallengeError("not_base64", "the picture is not base64") from None
    if not data:
        raise BadChallengeError("empty", "the challenge has no picture")
    if len(data) > max_bytes:
        raise BadChallengeError("too_large", f"{len(data)} bytes are more than {max_bytes}")
    return data


def most_characters(max_bytes: int) -> int:
    """Characters that a picture of so many bytes may take as text."""
    return int(max_bytes * 4 / 3 * SPACE) + PREFIX
