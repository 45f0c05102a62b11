"""Views on their way to the backbone: in a thread or in processes, from whole pictures or reduced ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.preprocess.image import decode
from tasks.classifier.features import SplitViews, view_batches
from tasks.config import EmbedParams, load_params
from tasks.data.views import View, make_view, other_camera_views, training_views
from tests.support.drawn import ImageRow, encode, row, street, write_parquet
from tests.support.paths import ROOT

LARGE = 8  # times the drawn street's 320 x 240 px
VIEWS = [*training_views(4), View(2, 3)]


def params(**changes: Any) -> EmbedParams:
    return load_params(ROOT / "params.yaml").embed.model_copy(update={"size": 56, "batch_size": 4, **changes})


@pytest.fixture
def split(tmp_path: Path) -> SplitViews:
    """Four large pictures, two with boxes."""
    rows = [_enlarged(row(seed, seed % 2)) for seed in range(4)]
    return SplitViews(
        [write_parquet(tmp_path / "train.parquet", [one.to_record() for one in rows])], VIEWS, covers=True
    )


def _enlarged(one: ImageRow) -> ImageRow:
    image = street(int(one.name.split(".")[0]), cones=4 if one.label else 0)[0]
    data = encode(image.resize((LARGE * image.width, LARGE * image.height)), quality=90)
    boxes = [{**box, "bbox": [LARGE * value for value in box["bbox"]]} for box in one.objects]
    return ImageRow(data, one.name, one.label, one.sha256, one.place, objects=tuple(boxes))


def views(given: EmbedParams, split: SplitViews, processes: int = 0) -> dict[str, tuple[Any, Any]]:
    """Pixels and cover of every view."""
    return {
        key: (batch.pixels[number], batch.covers[key])
        for batch in view_batches(given, {"train": split}, lambda _: False, processes)
        for number, key in enumerate(batch.keys)
    }


def test_a_view_is_that_of_the_whole_picture(split: SplitViews) -> None:
    found = views(params(), split)
    assert len(found) == 4 * len(VIEWS)
    one = _enlarged(row(1, 1))
    for view in VIEWS:
        image = decode(one.data, max_pixels=1 << 40, min_side=1)
        pixels, geometry = make_view(image, view, key=one.sha256, seed=params().seed, size=56)
        shown, cover = found[f"{one.sha256}/{view.name}"]
        assert np.array_equal(shown, pixels)
        assert np.array_equal(cover, geometry.coverage(list(one.objects), 4).astype(np.float16))


def test_processes_change_nothing(split: SplitViews) -> None:
    one, two = views(params(), split), views(params(), split, processes=2)
    assert list(one) == list(two)
    assert all(np.array_equal(one[key][part], two[key][part]) for key in one for part in (0, 1))


@pytest.mark.parametrize(
    ("decode_side", "same"),
    [
        # the longer side of 2560 px would keep less than that at a half; it keeps it at a quarter
        (2000, True),
        (600, False),
    ],
)
def test_a_reduced_picture_gives_nearly_the_same_views(split: SplitViews, decode_side: int, same: bool) -> None:
    whole, reduced = views(params(), split), views(params(decode_side=decode_side), split)
    assert list(whole) == list(reduced)
    equal = [np.array_equal(whole[key][0], reduced[key][0]) for key in whole]
    assert all(equal) == same
    plain = [key for key in whole if key.endswith("/0.0")]
    assert plain
    for key in plain:
        # the centre at level 0: grey levels, and where the works are
        assert np.abs(whole[key][0].astype(int) - reduced[key][0].astype(int)).mean() < 3
        np.testing.assert_allclose(reduced[key][1], whole[key][1], atol=0.02)


def test_another_camera_changes_the_picture_and_not_where_the_works_are(split: SplitViews) -> None:
    plain, others = training_views(2), other_camera_views(0, 2)
    split = replace(split, views=[*plain, *others])
    found = views(params(), split)
    same = views(params(), split, processes=1)
    moved = views(params(seed=8), split)
    for one in (_enlarged(row(seed, seed % 2)) for seed in range(4)):
        for before, after in zip(plain, others, strict=True):
            key = f"{one.sha256}/{after.name}"
            assert after.name == f"{before.name}c"
            assert not np.array_equal(found[key][0], found[f"{one.sha256}/{before.name}"][0])
            # a view depends on seed and picture alone
            assert np.array_equal(found[key][0], same[key][0])
            assert not np.array_equal(found[key][0], moved[key][0])
        # the first view is the centred square, whoever took it
        assert np.array_equal(found[f"{one.sha256}/0.0c"][1], found[f"{one.sha256}/0.0"][1])


def test_no_view_of_another_camera_is_asked_for_by_default() -> None:
    camera = params().other_camera
    assert camera is not None
    assert other_camera_views(4, camera.views) == []


def test_views_of_other_cameras_go_on_where_the_plain_ones_end() -> None:
    whole, others = training_views(8), other_camera_views(5, 3)
    assert [view.name for view in others] == [f"{view.name}c" for view in whole[5:]]
