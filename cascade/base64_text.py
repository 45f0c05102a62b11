"""Base64 as callers have it: from a data URL, in lines, of either alphabet, with its padding or without."""

from __future__ import annotations

import base64
import binascii
import re

# what browsers put before base64 (RFC 2397), the alphabet for addresses (RFC 4648, section 5), and line breaks
DATA_URL = re.compile(r"\s*data:[^,]{0,200};base64,", re.IGNORECASE)
SAFE_TO_PLAIN = bytes.maketrans(b"-_", b"+/")
WHITESPACE = b" \t\r\n\f\v"


def decode_base64(text: str) -> bytes:
    """Decode it.

    Raises:
        ValueError: it is not base64.
    """
    prefix = DATA_URL.match(text)
    try:
        letters = text[prefix.end() if prefix else 0 :].encode("ascii").translate(SAFE_TO_PLAIN, delete=WHITESPACE)
        letters = letters.rstrip(b"=")
        return base64.b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
