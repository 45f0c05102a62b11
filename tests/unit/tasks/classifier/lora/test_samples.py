"""What the backbone is adapted on: views with their label, and where the works lie in them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.classifier.lora.samples import LabelledViews
from tasks.data.annotated_images import AnnotatedImage
from tests.support.drawn import encode

GREY = (120, 120, 120)


def picture(key: str, box: tuple[float, ...] | None = (150.0, 100.0, 210.0, 160.0), label: int = 1) -> AnnotatedImage:
    """A grey square of 280 px, in which a box is only claimed."""
    corners = np.array([box] if box else [], dtype=float).reshape(-1, 4)
    return AnnotatedImage(
        encode(Image.new("RGB", (280, 280), GREY), "PNG"), key, "here", label, corners, np.zeros(len(corners))
    )


def views(*pictures: AnnotatedImage, seed: int = 7) -> LabelledViews:
    return LabelledViews(list(pictures), seed=seed, size=56, cells=4, colour_jitter=0.35)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 100))
def test_a_number_always_gives_the_same_sample(index: int, seed: int) -> None:
    one, two = (views(picture("a"), picture("b", None, 0), seed=seed)(index) for _ in range(2))
    assert (one.pixels == two.pixels).all()
    assert one.label == two.label
    assert (one.cover == two.cover).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_cover_is_a_share_of_each_patch(index: int) -> None:
    shown = views(picture("a"))(index)
    assert shown.pixels.shape == (56, 56, 3)
    assert shown.cover.shape == (16,)
    assert shown.cover.min() >= 0
    assert shown.cover.max() <= 1


def test_every_picture_comes_once_an_epoch_and_never_the_same_way() -> None:
    order = views(*(picture(name) for name in "abc"))
    epochs = [[order.key(3 * epoch + place) for place in range(3)] for epoch in range(4)]
    assert all({number for number, _ in keys} == {0, 1, 2} for keys in epochs)
    assert [keys[0][1] for keys in epochs] == [0, 1, 2, 3]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 5))
def test_hard_pictures_come_more_often_and_never_the_same_way(times: list[int], epoch: int) -> None:
    order = LabelledViews(
        [picture(str(number)) for number in range(len(times))],
        seed=7,
        size=56,
        cells=4,
        colour_jitter=0.35,
        times=times,
    )
    epochs = [[order.key(one * sum(times) + place) for place in range(sum(times))] for one in (epoch, epoch + 1)]
    for keys in epochs:
        assert [sum(number == key for key, _ in keys) for number in range(len(times))] == times
    assert len({*epochs[0], *epochs[1]}) == 2 * sum(times)


def test_levels_and_sides_are_mixed() -> None:
    # half white, half black: which side is which tells whether a view is mirrored
    image = Image.new("RGB", (280, 280), "white")
    image.paste((0, 0, 0), (0, 0, 140, 280))
    split = AnnotatedImage(encode(image, "PNG"), "a", "here", 0, np.zeros((0, 4)), np.zeros(0))
    bright_left = [views(split)(number).pixels[:, :8].mean() > 128 for number in range(40)]
    assert 8 < sum(bright_left) < 32


def test_where_works_are_is_known_of_clear_pictures_and_of_boxed_ones() -> None:
    # label, box, what is known
    assert np.isnan(views(picture("a", None, 1))(0).cover).all()  # works somewhere, nobody drew them
    assert (views(picture("a", None, 0))(0).cover == 0).all()  # clear: nowhere
    assert views(picture("a", (0.0, 0.0, 280.0, 280.0), 1))(0).cover.min() > 0.5  # everywhere
