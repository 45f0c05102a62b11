"""From a challenge's text to bytes: what is refused, and what is not."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.neuron.decode import BadChallengeError, decode_picture, most_characters

DATA = bytes(range(256)) * 4
TEXT = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \r\n ", "empty"),
        # a data URL of nothing
        ("data:image/jpeg;base64,", "empty"),
        ("not base64!", "not_base64"),
        ("straße", "not_base64"),
        # one letter more than groups of four can have
        ("AAAAA", "not_base64"),
        # a data URL that holds no base64
        ("data:image/jpeg," + TEXT, "not_base64"),
        ("\x00" * 8, "not_base64"),
        # the limit holds before decoding, and after it
        ("A" * (most_characters(2000) + 1), "too_large"),
        (base64.b64encode(bytes(2001)).decode(), "too_large"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadChallengeError) as caught:
        decode_picture(text, 2000)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "data:image/jpeg;base64," + TEXT,
        "DATA:image/png;charset=utf-8;base64," + TEXT,
        # as MIME and some libraries break lines
        base64.encodebytes(DATA).decode(),
        TEXT.replace("A", "A\r\n"),
        TEXT.rstrip("="),
        base64.urlsafe_b64encode(DATA).decode(),
    ],
)
def test_forms_that_validators_may_send(text: str) -> None:
    assert decode_picture(text, 2000) == DATA


# no `st.text()` of all letters: their table takes seconds to build
LETTERS = st.text(st.sampled_from("AQz09+/-_= \r\n\x00,;:éß𝛼"), max_size=300)


@given(LETTERS | st.binary(max_size=300).map(lambda data: base64.b64encode(data).decode()))
def test_any_text_gives_bytes_or_a_reason(text: str) -> None:
    # what is no BadChallengeError fails the test
    with contextlib.suppress(BadChallengeError):
        assert 0 < len(decode_picture(text, 200)) <= 200


@given(st.integers(1, 4096))
def test_a_picture_of_the_largest_size_fits_in_lines(size: int) -> None:
    assert len(base64.encodebytes(bytes(size))) <= most_characters(size)
