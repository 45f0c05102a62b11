"""Names of classes: those that people use are known, what might mean something else is not guessed at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.labelled.class_names import CLEAR_NAMES, ROADWORK_NAMES, ClassNames
from cascade.probability import LABEL_NUMBERS

COMMON = ClassNames()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        # the spellings of the docs
        *LABEL_NUMBERS.items(),
        # folders of people
        ("roadworks", 1),
        ("Road-Works", 1),
        ("ROAD_WORK", 1),
        (" road works ", 1),
        ("no_roadwork", 0),
        ("No Roadworks", 0),
        ("street", 0),
        # a minus is no separator: -1 is how `datasets` writes "no label"
        ("-1", None),
        ("1.0", None),
        ("10", None),
        ("", None),
        # could be either
        ("other", None),
        ("unsure", None),
        ("!roadwork", None),
        ("roadwork clear", None),
    ],
)
def test_label_of_a_name(name: str, label: int | None) -> None:
    assert COMMON.label(name) == label


@given(st.sampled_from([*ROADWORK_NAMES, *CLEAR_NAMES]), st.sampled_from(" _-"), st.booleans())
def test_case_and_separators_do_not_matter(name: str, separator: str, upper: bool) -> None:
    spelt = name.replace(" ", separator)
    assert COMMON.label(spelt.upper() if upper else spelt) == COMMON.label(name) is not None


def test_names_of_the_user_go_before_the_common_ones() -> None:
    names = ClassNames(roadwork=["Street"], clear=["1"], left_out=["unsure"])
    assert (names.label("street"), names.label("1"), names.label("roadwork")) == (1, 0, 1)
    assert names.label("unsure") is None
    assert names.is_left_out("UNSURE")
    assert not names.is_left_out("other")


@pytest.mark.parametrize(
    "groups",
    [
        {"roadwork": ["a"], "clear": ["A"]},
        {"roadwork": ["a b"], "left_out": ["a_b"]},
        {"clear": ["x"], "left_out": ["x"]},
    ],
)
def test_a_name_in_two_classes_is_refused(groups: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="named twice"):
        ClassNames(**groups)
