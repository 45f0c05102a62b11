"""How many decoders a service has."""

from __future__ import annotations

import pytest

from cascade.api.workers import Workers, count_workers
from cascade.config import ServeParams

GIB = 1 << 30


@pytest.mark.parametrize(
    ("available", "max_pixels", "decoders", "expected"),
    [
        # a small machine still has a second one beside a file that takes for ever
        (GIB // 2, 50_000_000, "auto", Workers(2, 4)),
        # three of 1.05 GB fit into the half of 6.5 GiB
        (int(6.5 * GIB), 50_000_000, "auto", Workers(3, 6)),
        (64 * GIB, 50_000_000, "auto", Workers(4, 8)),
        # smaller pictures need less
        (2 * GIB, 10_000_000, "auto", Workers(4, 8)),
        # a person's number, whatever is free
        (GIB // 2, 50_000_000, 12, Workers(12, 24)),
    ],
)
def test_counts(available: int, max_pixels: int, decoders: object, expected: Workers) -> None:
    serve = ServeParams.model_validate(
        {"host": "127.0.0.1", "port": 0, "max_images": 1, "max_bytes": 1, "deadline_seconds": 6}
        | {"max_pixels": max_pixels, "decoders": decoders}
    )
    assert count_workers(serve, available) == expected


@pytest.mark.parametrize("wrong", [0, -1, 65, "many", None])
def test_what_is_no_count(wrong: object) -> None:
    with pytest.raises(ValueError, match="decoders"):
        ServeParams.model_validate(
            {"host": "x", "port": 0, "max_images": 1, "max_bytes": 1, "deadline_seconds": 6, "decoders": wrong}
        )
