"""Which views of a picture the detectors are shown."""

from collections import Counter

from tasks.common.files import sha256
from tasks.detection.inference import views_of


def test_four_views_are_one_of_each_level_and_eight_are_eight_different_ones() -> None:
    key = sha256(b"a street")

    assert sorted(view.level for view in views_of(key, 4)) == [0, 1, 2, 3]
    assert len({view.name for view in views_of(key, 8)}) == 8


def test_one_view_a_picture_spreads_over_the_levels() -> None:
    levels = Counter(views_of(sha256(str(number).encode()), 1)[0].level for number in range(400))

    assert all(60 < levels[level] < 140 for level in range(4))
