"""A few challenge pictures through the running service: a release is not good before it has answered them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from cascade.probability import LABELS

CHALLENGE = Path("data/pulled/challenge.parquet")
BUSY, WAITS = 503, (1.0, 3.0, 9.0)  # s; a machine that has just been loaded with work is slow for a moment
ROWS = 64  # that the pictures are chosen from; the others are not read


class SmokeTestError(RuntimeError):
    """The service does not answer as it should."""


@dataclass(frozen=True)
class GoldenImage:
    """A labelled picture as it lies in the challenge set."""

    name: str
    label: str
    data: bytes


@dataclass(frozen=True)
class SmokeResult:
    """The answer of the service for one picture; `probability` is that of roadwork."""

    picture: str
    truth: str
    label: str
    probability: float
    milliseconds: float
    release: str


def golden_images(challenge: Path = CHALLENGE, count: int = 3) -> list[GoldenImage]:
    """The first pictures of the challenge set, of both labels by turns where it has both."""
    import pyarrow.parquet as pq

    batches = pq.ParquetFile(challenge).iter_batches(batch_size=ROWS, columns=["image", "label"])
    rows = next(iter(batches)).to_pylist()
    by_turns = sorted(enumerate(rows), key=lambda item: (_turn(rows, item[0]), -item[1]["label"]))
    return [
        GoldenImage(row["image"]["path"] or f"challenge-{index}", LABELS[row["label"]], row["image"]["bytes"])
        for index, row in by_turns[:count]
    ]


def smoke_test(url: str, images: list[GoldenImage], timeout: float = 60.0) -> list[SmokeResult]:
    """Send pictures to `POST /v1/predict` in one request, and again where the service is too busy to answer in time.

    Raises:
        SmokeTestError: no service, an HTTP error, or an answer of another shape.
    """
    import httpx

    key = os.environ.get("STREETVISION_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    files = [("files", (one.name, one.data, "application/octet-stream")) for one in images]
    try:
        for wait in (*WAITS, None):
            # the service of this machine: a certificate is for another name, and no proxy stands between
            answer = httpx.post(
                f"{url}/v1/predict",
                files=files,
                headers=headers,
                timeout=timeout,
                verify=False,  # noqa: S501
                trust_env=False,
            )
            if answer.status_code != BUSY or wait is None:
                break
            time.sleep(wait)
        answer.raise_for_status()
        results = answer.json()["results"]
        return [
            SmokeResult(one.name, one.label, got["label"], got["probability"], got["milliseconds"], got["release"])
            for one, got in zip(images, results, strict=True)
        ]
    except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
        raise SmokeTestError(f"{url}: the service did not answer for the challenge pictures: {error!r}") from error


def _turn(rows: list[dict[str, int]], index: int) -> int:
    """How many rows of the same label come before this one."""
    return sum(row["label"] == rows[index]["label"] for row in rows[:index])
