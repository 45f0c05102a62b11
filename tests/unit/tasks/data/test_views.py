"""The validators' levels: the same seed gives the same bytes, and boxes are followed through the crop."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cascade.preprocess.pixels import square
from cascade.preprocess.tta import TtaView, tta_views
from tasks.data.views import LEVELS, Geometry, View, answerable, augmented_views, level_views, make_view, training_views
from tests.support.drawn import street

SIZE = 224
KINDS: tuple[TtaView, ...] = ("mirrored", "shifted")
STREET, _ = street(3, cones=2)


def pixels(view: View, *, image: Image.Image = STREET, key: str = "a", seed: int = 1) -> np.ndarray:
    return make_view(image, view, key=key, seed=seed, size=SIZE)[0]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(LEVELS), st.integers(0, 5), st.integers(0, 2**32), st.integers(33, 400), st.integers(33, 400))
def test_same_seed_same_bytes_for_any_shape(level: int, draw: int, seed: int, width: int, height: int) -> None:
    image = STREET.resize((width, height))
    first = pixels(View(level, draw), image=image, seed=seed)
    assert first.shape == (SIZE, SIZE, 3)
    assert first.dtype == np.uint8
    assert first.tobytes() == pixels(View(level, draw), image=image, seed=seed).tobytes()


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("other", [{"seed": 2}, {"key": "b"}], ids=["seed", "picture"])
def test_seed_and_picture_change_the_view(level: int, other: dict) -> None:
    assert not np.array_equal(pixels(View(level)), pixels(View(level), **other))
    assert not np.array_equal(pixels(View(level)), pixels(View(level, draw=1)))


def test_level_0_is_the_centred_square_as_jpeg() -> None:
    stream = io.BytesIO()
    square(STREET, SIZE).save(stream, "JPEG", quality=75)
    assert np.array_equal(pixels(View(0)), np.asarray(Image.open(stream)))
    assert np.array_equal(pixels(View(0), seed=1), pixels(View(0), seed=2))


def test_training_views_are_all_different_and_cover_the_levels() -> None:
    chosen = training_views(8)
    assert [view.level for view in chosen] == [0, 1, 2, 3, 3, 2, 1, 0]
    assert len({pixels(view).tobytes() for view in chosen}) == 8
    assert len({view.name for view in chosen}) == 8


@pytest.mark.parametrize("count", [0, 1])
def test_at_least_the_plain_picture(count: int) -> None:
    assert training_views(count) == [View(0)]


def test_a_further_look_is_at_what_was_received() -> None:
    image = Image.effect_noise((320, 240), 90).convert("RGB")
    for level in LEVELS:
        first, *more = (
            make_view(image, view, key="k", seed=7, size=SIZE)[0]
            for view in (View(level, 1), *augmented_views([View(level, 1)], KINDS))
        )
        assert (np.stack(more) == tta_views(first[None], KINDS)[:, 0]).all()
    names = [view.name for view in augmented_views([View(0), View(2, 1)], KINDS)]
    assert names == ["0.0+mirrored", "0.0+shifted", "2.1+mirrored", "2.1+shifted"]


def test_level_views() -> None:
    assert [view.name for view in level_views(2)] == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1", "3.0", "3.1"]


def test_stronger_levels_lose_more_detail() -> None:
    def sharpness(level: int) -> float:
        shots = [pixels(View(level, draw)).astype(float) for draw in range(25)]
        return float(np.mean([np.abs(np.diff(shot, axis=1)).mean() for shot in shots]))

    assert sharpness(1) > sharpness(2)


def test_only_level_3_is_noisy() -> None:
    grey = Image.new("RGB", (300, 300), (120, 120, 120))

    def roughest(level: int) -> float:
        return max(float(pixels(View(level, draw), image=grey)[90:134, 90:134].std()) for draw in range(20))

    assert roughest(2) < 1.0
    assert roughest(3) > 5.0


@settings(max_examples=60, deadline=None)
@given(
    level=st.sampled_from([0, 1]),
    draw=st.integers(0, 1000),
    mirrored=st.booleans(),
    x=st.integers(0, 280),
    y=st.integers(0, 200),
)
def test_geometry_says_where_a_box_goes(level: int, draw: int, mirrored: bool, x: int, y: int) -> None:
    image = Image.new("RGB", (320, 240), (0, 0, 0))
    image.paste((255, 255, 255), (x, y, x + 40, y + 40))
    shot, geometry = make_view(image, View(level, draw, mirrored), key="k", seed=1, size=SIZE)
    # white px of the view, as a share of what the whole box would fill there
    share = float((shot[..., 1] > 127).sum()) * (geometry.crop[2] / SIZE) ** 2 / 1600
    assert share == pytest.approx(geometry.visible([x, y, 40, 40]), abs=0.12)


@pytest.mark.parametrize(
    ("bbox", "left"),
    [
        ([100, 100, 20, 20], True),
        # wholly left of the crop
        ([0, 0, 20, 20], False),
        # a tenth of it is inside
        ([32, 60, 20, 20], False),
        # half of it is inside
        ([40, 60, 20, 20], True),
    ],
)
def test_answerable(bbox: list[float], left: bool) -> None:
    geometry = Geometry(200, 200, 0.0, (50, 50, 100), mirrored=False)
    assert answerable([{"bbox": bbox, "category": "cone"}], geometry) is left


def test_nothing_labelled_is_not_answerable() -> None:
    assert not answerable([], Geometry(200, 200, 0.0, (0, 0, 200), mirrored=False))


def test_coverage_of_a_plain_view_is_where_the_box_is() -> None:
    # 300 px of height become 16 cells of 18.75 px; the centre crop of 400 x 300 begins at x = 50
    geometry = Geometry(400, 300, 0.0, (50, 0, 300), mirrored=False)
    cover = geometry.coverage([{"bbox": [50 + 37.5, 18.75, 37.5, 18.75]}], 16).reshape(16, 16)
    assert np.argwhere(cover > 0.99).tolist() == [[1, 2], [1, 3]]
    assert cover.sum() == pytest.approx(2, abs=1e-3)
    assert np.array_equal(geometry.coverage([], 16), np.zeros(256, dtype=np.float32))


def test_coverage_follows_mirror_and_crop() -> None:
    box = [{"bbox": [0, 0, 100, 100]}]
    mirrored = Geometry(400, 300, 0.0, (250, 0, 150), mirrored=True)
    assert mirrored.coverage(box, 2).tolist() == pytest.approx([1 / 3, 1, 1 / 9, 1 / 3], abs=0.06)
    assert Geometry(400, 300, 0.0, (250, 0, 150), mirrored=False).coverage(box, 2).sum() == 0
