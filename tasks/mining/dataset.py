"""The persistent FiftyOne dataset: candidates and what they were compared with, one sample a picture.

A picture is found by its sha256, which has a unique index: two processes cannot add it twice. Writers take turns by
`tasks.mining.writer`; readers, such as the App, may have the dataset open all the while.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.mining.database import plain_words
from tasks.mining.media import MEDIA, media_file
from tasks.mining.samples import PREDICTION, TRUTH, FiftyOneSample, field_values, to_sample

CHUNK = 500


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
            dataset.add_samples([to_sample(fo, one, media) for one in new[start : start + CHUNK]], progress=False)
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


def _update(fo: Any, dataset: Any, pictures: Sequence[FiftyOneSample], media: Path) -> None:
    if not pictures:
        return
    values = {picture.sha256: field_values(fo, picture) for picture in pictures}
    paths = {key: str(media_file(key, media).absolute()) for key in values}
    dataset.set_values("filepath", paths, key_field="sha256")
    for name in ("part", "place", "origin", "reason", PREDICTION, "embedding", TRUTH):
        column = {key: fields[name] for key, fields in values.items() if name in fields}
        if column:
            dataset.set_values(name, column, key_field="sha256")
