"""The parquet shards that batch prediction writes: a row a picture, and what the shard holds in its metadata.

Times are left out, so that the same pictures and release give the same bytes, wherever they are computed.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from cascade.core.cascade import Prediction
from cascade.preprocess.image import BadImage
from cascade.probability import CUT
from cascade.stages.base import StageResult
from cascade.video.clip import ClipPrediction
from tasks.scale.pictures import Picture

if TYPE_CHECKING:
    import pyarrow as pa

METADATA = b"streetvision"
TIMES = {"milliseconds", "batch"}
# causes that another run may not have; `off` and `missing` stay as they are
PASSING = {"failed", "memory", "timeout", "busy", "deadline"}
Predicted = Prediction | ClipPrediction | BadImage


class ShardFacts(BaseModel):
    """What a shard holds.

    Attributes:
        refused: pictures without a prediction, by reason.
        incomplete: pictures for which a stage failed or had no memory; such a shard is computed again.
    """

    model_config = ConfigDict(frozen=True)
    release: str
    cut: float = CUT
    pictures: int
    roadwork: int
    clear: int
    refused: dict[str, int]
    incomplete: int


def shard_schema() -> pa.Schema:
    """The columns of a shard; docs/batch.md says what they hold."""
    import pyarrow as pa

    texts = ("name", "sha256", "kind", "label", "decided_by", "reason", "trace", "refused", "message")
    types = {name: pa.string() for name in texts}
    types |= {"probability": pa.float64(), "complete": pa.bool_(), "notes": pa.list_(pa.string())}
    order = ("name", "sha256", "kind", "probability", "label", "decided_by", "reason", "complete", "trace", "notes")
    columns = [pa.field(name, types[name]) for name in (*order, "refused", "message")]
    return pa.schema([pa.field("path", pa.string()), pa.field("row", pa.int64()), *columns])


def encode_shard(pictures: Sequence[Picture], predicted: Sequence[Predicted], release: str) -> tuple[bytes, ShardFacts]:
    """Write a shard: the file's content and what it holds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_row(picture, one) for picture, one in zip(pictures, predicted, strict=True)]
    facts = _facts(rows, release)
    schema = shard_schema().with_metadata({METADATA: facts.model_dump_json().encode()})
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer, compression="zstd")
    return buffer.getvalue(), facts


def read_facts(path: Path) -> ShardFacts | None:
    """What a shard on disk holds; None where the file is damaged or none of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return ShardFacts.model_validate_json((pq.read_schema(path).metadata or {})[METADATA])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None


def _facts(rows: Sequence[dict[str, Any]], release: str) -> ShardFacts:
    labels = Counter(row.get("label") for row in rows)
    refused = Counter(row["refused"] for row in rows if row.get("refused"))
    return ShardFacts(
        release=release,
        pictures=len(rows),
        roadwork=labels["roadwork"],
        clear=labels["clear"],
        refused=dict(sorted(refused.items())),
        incomplete=sum(row.get("complete") is False and row["passing"] for row in rows),
    )


def _row(picture: Picture, predicted: Predicted) -> dict[str, Any]:
    row = {
        "path": picture.path,
        "row": picture.row,
        "name": picture.name,
        "sha256": picture.sha256 or None,
        "kind": "clip" if picture.clip else "image",
    }
    if isinstance(predicted, BadImage):
        return row | {"refused": predicted.reason, "message": str(predicted)}
    clip = isinstance(predicted, ClipPrediction)
    standing = predicted.frame if isinstance(predicted, ClipPrediction) else predicted
    return row | {
        "probability": predicted.probability,
        "label": predicted.label,
        "decided_by": predicted.decided_by,
        "reason": predicted.reason,
        "complete": standing.complete and (not clip or predicted.complete),
        "passing": any(result.skipped in PASSING for result in standing.stages),
        "trace": json.dumps(_trace(predicted), ensure_ascii=False),
        "notes": standing.notes,
    }


def _trace(predicted: Prediction | ClipPrediction) -> dict[str, Any]:
    """What each stage saw; of a clip that of the frame that stands for it, and every frame's probability."""
    if isinstance(predicted, Prediction):
        return {"stages": _plain(predicted.stages)}
    clip = [predicted.clip_result] if predicted.clip_result else []
    return {
        "stages": _plain([*predicted.frame.stages, *clip]),
        "frame_seconds": predicted.frame_seconds,
        "frames": predicted.frames.model_dump(mode="json"),
        "timeline": [frame.model_dump(mode="json") for frame in predicted.timeline],
    }


def _plain(stages: Sequence[StageResult]) -> list[dict[str, Any]]:
    return [stage.model_dump(mode="json", exclude=TIMES) for stage in stages]
