"""Recovery phrases are found however they are written, and prose, code and word lists are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from tasks.secret_scan.phrases import LENGTHS, find_phrases
from tests.support.wallets import phrase

ENGLISH = Mnemonic("english")
WRONG = phrase().split()
WRONG[-1] = next(word for word in ENGLISH.wordlist if not ENGLISH.check(" ".join([*WRONG[:-1], word])))


def found(text: str) -> list[int]:
    return [words for _, words in find_phrases(text.encode())]


@pytest.mark.parametrize("words", LENGTHS)
@pytest.mark.parametrize(
    "written",
    [
        "{}",
        "MNEMONIC={}",
        'seed: "{}"',
        "Here it is. {}\nKeep it.",  # in prose, whose words are not of the list
        "é {} é",  # the text is no ASCII
    ],
)
def test_a_phrase_in_a_text(words: int, written: str) -> None:
    assert found(written.format(phrase(words))) == [words]


@pytest.mark.parametrize("words", LENGTHS)
def test_other_ways_to_write_it(words: int) -> None:
    parts = phrase(words).split()
    for text in (
        " ".join(parts).upper(),
        "\n".join(parts),
        "\r\n".join(f"{number}. {word}" for number, word in enumerate(parts, 1)),
        repr(parts),  # a list of Python or JSON
        "[\n" + ",\n".join(f'        "{word}"' for word in parts) + "\n]",
        "    " + " ".join(parts[:7]) + "\n    " + " ".join(parts[7:]),  # wrapped
    ):
        assert found(text) == [words], text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ".join(phrase().split()[:11]),  # one word is missing
        " ".join(WRONG),  # the checksum is wrong
        "\n".join(ENGLISH.wordlist),  # the list itself
        "abandon " * 11 + "about",  # a test vector of BIP-39
        " and then ".join(phrase().split()),  # other words between
        (" " * 50).join(phrase().split()),  # too far apart
        phrase().replace(" ", " (", 4).replace(" ", ".", 8),  # as in code
        "The quick brown fox jumps over the lazy dog. " * 100,
    ],
)
def test_what_is_no_phrase(text: str) -> None:
    assert found(text) == []


def test_each_of_several_phrases_is_found_with_its_place() -> None:
    text = f"a: {phrase(12, 1)}.\n\nthe next: {phrase(24, 2)}\n".encode()
    places = list(find_phrases(text))
    assert [words for _, words in places] == [12, 24]
    assert [text[start:].split()[0].decode() for start, _ in places] == [
        phrase(12, 1).split()[0],
        phrase(24, 2).split()[0],
    ]


@given(st.integers(0, 10**6), st.sampled_from(LENGTHS), st.text(alphabet="Ab .,\n\"'0", max_size=30))
def test_every_phrase_is_found(seed: int, words: int, around: str) -> None:
    assert found(f"{around}the {phrase(words, seed)} the{around}") == [words]


@given(st.binary(max_size=400))
def test_no_text_makes_it_fail(text: bytes) -> None:
    assert list(find_phrases(text)) == []
