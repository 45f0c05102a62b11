"""Orders follow from params and data alone: counts, slices, share of image-to-image, and prompts short enough."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tasks.data.schema import DataError
from tasks.synthesis.prompts import COLUMNS, SourceImage, batches, compose, orders
from tests.support.synthesis import params

SDXL = {"engine": "sdxl", "sdxl__revision": "a" * 40}
NIGHT = SourceImage("n" * 64, "place-1", 1, "", dict.fromkeys(COLUMNS, "") | {"time": "night"})
DESCRIBED = SourceImage("t" * 64, "place-2", 1, "Two workers beside a lorry.", dict.fromkeys(COLUMNS, ""))
CLEAR = SourceImage("c" * 64, "place-3", 0, "", dict.fromkeys(COLUMNS, ""))


def ordered(sources: tuple[SourceImage, ...] = (NIGHT, CLEAR), **changes: Any) -> list:
    return orders(params(**{**SDXL, **changes}), list(sources))


@pytest.mark.parametrize(
    ("share", "images"),
    [
        # of ten pictures a label
        (0.0, 0),
        (0.3, 6),
        (0.5, 10),
        (1.0, 20),
    ],
)
def test_counts_and_share_of_image_to_image(share: float, images: int) -> None:
    found = ordered(num_positive=10, num_negative=10, sdxl__image_share=share)
    assert [order.label for order in found].count(1) == 10
    assert len({(order.label, order.number) for order in found}) == len({order.seed for order in found}) == 20
    assert sum(order.mode == "image" for order in found) == images
    assert all(order.source and order.source.label == order.label for order in found if order.mode == "image")


def test_orders_are_settled_and_grow_without_changing_what_was() -> None:
    few, many = ordered(num_positive=4), ordered(num_positive=9)
    assert few == ordered(num_positive=4)
    assert {order.name: order for order in few}.items() <= {order.name: order for order in many}.items()
    assert ordered(seed=12)[0].seed != ordered(seed=13)[0].seed


@pytest.mark.parametrize(
    "slices",
    [
        # one value, several, and an attribute that is no column
        {"time": ["night"]},
        {"weather": ["fog", "snow"], "road": ["motorway"]},
        {"camera": ["phone"]},
    ],
)
def test_slices_restrict_every_prompt(slices: dict[str, list[str]]) -> None:
    found = ordered(num_positive=20, num_negative=20, slices=slices)
    assert all(order.attributes[name] in values for order in found for name, values in slices.items())
    for name, values in slices.items():
        assert {order.attributes[name] for order in found} == set(values)


def test_no_source_in_the_slices_is_an_error_that_says_what_to_change() -> None:
    with pytest.raises(DataError, match=r"label 1 .*image_share"):
        ordered((NIGHT, CLEAR), slices={"time": ["noon"]})


def test_image_to_image_is_described_as_its_source_is() -> None:
    shown = [order for order in ordered((NIGHT, CLEAR), num_positive=6) if order.source == NIGHT]
    assert shown
    assert all("night" in order.prompt for order in shown)
    described = next(order for order in ordered((DESCRIBED, CLEAR)) if order.source == DESCRIBED)
    assert described.prompt.endswith("Two workers beside a lorry")
    assert "works" not in described.attributes


def test_clear_pictures_name_works_in_the_negative_prompt_only() -> None:
    for order in ordered(num_positive=20, num_negative=20):
        assert ("traffic cones" in order.negative_prompt) == (order.label == 0)
        assert ("works" in order.attributes or order.source == DESCRIBED) == (order.label == 1)
        if not order.label:
            assert "roadwork" not in order.prompt
            assert "cone" not in order.prompt


def test_every_prompt_fits_the_text_encoders() -> None:
    """CLIP reads 77 tokens; these are short English words, of which few take two."""
    given = params(**SDXL)
    names = (*COLUMNS, "camera")
    for last in ("works", "lookalikes"):
        for values in itertools.product(*(getattr(given.attributes, name) for name in (*names, last))):
            assert len(compose(given, dict(zip((*names, last), values, strict=True))).replace(",", " ,").split()) <= 50
    assert len(f"{given.negative_works}, {given.negative_prompt}".replace(",", " ,").split()) <= 65
    assert given.sdxl.description_words <= 30


def test_batches_hold_one_mode_each_and_everything_once() -> None:
    found = ordered(num_positive=7, num_negative=6)
    cut = list(batches(found, 4))
    assert all(len({order.mode for order in batch}) == 1 and len(batch) <= 4 for batch in cut)
    assert [order for batch in cut for order in batch] == found
