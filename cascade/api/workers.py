"""How many pictures are decoded and held at once, by the memory that is free when the service starts."""

from __future__ import annotations

from dataclasses import dataclass

from cascade.config import ServeParams

# memory of a decoding process at the worst of its formats, WebP: 735 MB for 49 megapixels, measured; PNG 430 MB
DECODER_BYTES_A_PIXEL = 15
# a decoded picture that waits for the stages
HELD_BYTES_A_PIXEL = 3
# requests at work for each decoding process: one is decoded while another one's pictures are with the stages
READERS_A_DECODER = 2
# of what is free; the rest is for models that are loaded on demand, and for other programs
SHARE = 0.5
# a file that takes for ever holds one of them; more than four do not pay on one model
LEAST, MOST = 2, 4


@dataclass(frozen=True)
class Workers:
    """Counts.

    Attributes:
        decoders: processes that decode pictures.
        readers: requests at work, each of which may hold `serve.max_pixels` of decoded pictures.
    """

    decoders: int
    readers: int


def count_workers(serve: ServeParams, available: int) -> Workers:
    """Choose the counts.

    Args:
        serve: section `serve`; `decoders` is a number, or `auto`.
        available: free bytes, of the machine or the container.
    """
    if serve.decoders != "auto":
        return Workers(serve.decoders, READERS_A_DECODER * serve.decoders)
    each = serve.max_pixels * (DECODER_BYTES_A_PIXEL + READERS_A_DECODER * HELD_BYTES_A_PIXEL)
    decoders = min(MOST, max(LEAST, int(SHARE * available / each)))
    return Workers(decoders, READERS_A_DECODER * decoders)
