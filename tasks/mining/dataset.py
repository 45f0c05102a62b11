"""The persistent FiftyOne dataset: what mining looked at and what it was compared with, one sample a picture.

A picture is found by its sha256, which has a unique index: two processes cannot add it twice. Writers take turns by a
lock beside the database; readers, such as the App, may have the dataset open all the while.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.probability import LABELS, label_of
from tasks.mining import mongod
from tasks.mining.database import DatabaseDown, plain_words

MEDIA = Path("var/media")
PREDICTION, TRUTH = "prediction", "ground_truth"
CANDIDATE = "candidate"
WRITER_SECONDS = 600
CHUNK = 500


@dataclass(frozen=True)
class FiftyOneSample:
    """A sample to be.

    Attributes:
        sha256: of the file under `media_file`.
        part: "candidate", or the split that it belongs to: "challenge", "calibration" or "train".
        place: split key.
        origin: where it came from.
        reason: why it was looked at.
        probability: of roadwork, by the probe.
        vector: its embedding, (d,).
        label: 0 or 1 where it is known, else None.
    """

    sha256: str
    part: str
    place: str
    origin: str
    reason: str
    probability: float
    vector: NDArray[np.float32]
    label: int | None = None


def media_file(sha256: str, folder: Path = MEDIA) -> Path:
    """Where a picture's file lies; it is called .jpg whatever it is, as programs look at the content."""
    return folder / f"{sha256}.jpg"


def keep_media(sha256: str, data: bytes, folder: Path = MEDIA) -> Path:
    """Put a picture's file where FiftyOne finds it; one that is there already stays."""
    path = media_file(sha256, folder)
    if not path.is_file() or path.stat().st_size != len(data):
        # not flushed to disk, unlike what the pipeline writes: a file that a power cut shortened is written again
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{sha256}.{os.getpid()}.partial"
        partial.write_bytes(data)
        partial.replace(path)
    return path


@contextmanager
def writing(database: Path) -> Iterator[None]:
    """Be the only writer; the lock ends with the process at the latest.

    Raises:
        DatabaseDown: another one kept writing for ten minutes.
    """
    database.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + WRITER_SECONDS
    while True:
        try:
            descriptor = mongod.hold(database / "writer.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DatabaseDown(f"another process keeps writing to {database}; wait for it, or end it") from None
            time.sleep(0.5)
    try:
        yield
    finally:
        os.close(descriptor)


def open_dataset(fo: Any, name: str) -> Any:
    """Load the persistent dataset, or make it with its fields and the index on sha256.

    Args:
        fo: the module `fiftyone`, connected.
        name: section `mine`, key `dataset`.

    Raises:
        DatabaseDown: the database does not answer.
    """
    with plain_words():
        if fo.dataset_exists(name):
            dataset = fo.load_dataset(name)
            dataset.reload()
        else:
            dataset = fo.Dataset(name, persistent=True)
        fields = dataset.get_field_schema()
        for field in ("sha256", "part", "place", "origin", "reason"):
            if field not in fields:
                dataset.add_sample_field(field, fo.StringField)
        for field in (PREDICTION, TRUTH):
            if field not in fields:
                dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
        if "embedding" not in fields:
            dataset.add_sample_field("embedding", fo.VectorField)
        dataset.create_index("sha256", unique=True)
        return dataset


def put(fo: Any, dataset: Any, pictures: Sequence[FiftyOneSample], media: Path = MEDIA) -> None:
    """Add what is new and bring up to date what is there; tags, by which people review, stay.

    Raises:
        DatabaseDown: the database does not answer.
    """
    with plain_words():
        there = set(dataset.values("sha256"))
        new = [picture for picture in pictures if picture.sha256 not in there]
        for start in range(0, len(new), CHUNK):
            dataset.add_samples([_sample(fo, one, media) for one in new[start : start + CHUNK]], progress=False)
        _update(fo, dataset, [picture for picture in pictures if picture.sha256 in there], media)


def chosen_from(dataset: Any, keys: Sequence[str]) -> Any:
    """The view of these pictures, ordered by sha256."""
    from fiftyone import ViewField

    return dataset.match(ViewField("sha256").is_in(list(keys))).sort_by("sha256")


def batch_tag(batch: str) -> str:
    """The tag that the samples of a batch carry."""
    return f"batch:{batch}"


def save_view(dataset: Any, batch: str, keys: Sequence[str]) -> None:
    """Tag the samples of a batch and save them as a view named like it; another choice under that name is replaced.

    Raises:
        DatabaseDown: the database does not answer.
    """
    tag = batch_tag(batch)
    with plain_words():
        dataset.match_tags(tag).untag_samples(tag)
        chosen_from(dataset, keys).tag_samples(tag)
        dataset.save_view(batch, dataset.match_tags(tag), description="mined for labelling", overwrite=True)


def has_view(dataset: Any, batch: str, count: int) -> bool:
    """Whether the batch's view is there and complete."""
    with plain_words():
        return dataset.has_saved_view(batch) and len(dataset.match_tags(batch_tag(batch))) == count


def _sample(fo: Any, picture: FiftyOneSample, media: Path) -> Any:
    path = str(media_file(picture.sha256, media).absolute())
    return fo.Sample(filepath=path, sha256=picture.sha256, tags=[picture.part], **_values(fo, picture))


def _values(fo: Any, picture: FiftyOneSample) -> dict[str, Any]:
    values = {
        "part": picture.part,
        "place": picture.place,
        "origin": picture.origin,
        "reason": picture.reason,
        PREDICTION: _prediction(fo, picture.probability),
        "embedding": picture.vector,
    }
    if picture.label is not None:
        values[TRUTH] = fo.Classification(label=LABELS[picture.label])
    return values


def _prediction(fo: Any, p: float) -> Any:
    safe = min(max(p, 1e-9), 1 - 1e-9)
    # logits whose softmax is (1 - p, p): hardness and mistakenness are computed from them
    logits = np.array([0.0, np.log(safe / (1 - safe))])
    return fo.Classification(label=label_of(p), confidence=max(p, 1 - p), logits=logits)


def _update(fo: Any, dataset: Any, pictures: Sequence[FiftyOneSample], media: Path) -> None:
    if not pictures:
        return
    values = {picture.sha256: _values(fo, picture) for picture in pictures}
    paths = {key: str(media_file(key, media).absolute()) for key in values}
    dataset.set_values("filepath", paths, key_field="sha256")
    for name in ("part", "place", "origin", "reason", PREDICTION, "embedding", TRUTH):
        column = {key: fields[name] for key, fields in values.items() if name in fields}
        if column:
            dataset.set_values(name, column, key_field="sha256")
