"""What a model's tokens mean, as a table: prose, traces of thought and broken numbers first."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.vlm.reading import AnswerWords, GeneratedToken, is_final, plain, read

WORDS = AnswerWords(("yes",), ("no",), min_mass=0.5)


def token(text: str, **rivals: float) -> GeneratedToken:
    """A token with probability 0.9, or what `rivals` says, as probabilities."""
    return GeneratedToken(text, {name: math.log(p) for name, p in ({text: 0.9} | rivals).items()})


@pytest.mark.parametrize(
    ("positions", "why"),
    [
        # nothing at all
        ([], "said nothing"),
        # prose
        ([token("The"), token(" street")], "instead of yes or no"),
        # a hedge: neither word is likely where the answer should be
        ([token("Maybe", Yes=0.05)], "instead of yes or no"),
        # only markers, then the end
        ([token("<|begin_of_box|>"), token("\n")], "before an answer"),
        # a thought that was cut off
        ([token("<think>"), token("Hm"), token(" yes")], "raise vlm.max_tokens"),
        # one in several tokens, cut off
        ([token("<"), token("think"), token(">"), token("Yes")], "raise vlm.max_tokens"),
        # probabilities that are none
        ([GeneratedToken("Yes", {"Yes": float("nan")})], "no numbers"),
        ([GeneratedToken("Yes", {"Yes": float("inf")})], "no numbers"),
        ([GeneratedToken("Yes", {"Yes": 0.7})], "no numbers"),
        # a word that only contains the answer
        ([token("Yesterday")], "instead of yes or no"),
    ],
)
def test_malformed(positions: list[GeneratedToken], why: str) -> None:
    answer = read(positions, WORDS)
    assert answer.kind == "malformed"
    assert answer.logit is None
    assert why in (answer.why or "")


@pytest.mark.parametrize(
    ("positions", "yes", "no"),
    [
        # both listed
        ([token("Yes", No=0.1)], 0.9, 0.1),
        # the rival beats the chosen token's own case: all shapes of a word count together
        ([token("Yes", yes=0.05, No=0.04)], 0.95, 0.04),
        # SentencePiece's and BPE's blanks, quotes, a full stop
        ([GeneratedToken("\u2581No", {"\u2581No": math.log(0.8), "\u0120Yes": math.log(0.1)})], 0.1, 0.8),
        ([token('"No".', yes=0.1)], 0.1, 0.9),
        # markers, blanks and an empty thought go before it
        ([token("<think>"), token("</think>"), token("\n"), token("<|begin_of_box|>"), token("No", Yes=0.1)], 0.1, 0.9),
        # a yes within a thought is none
        ([token("<think>"), token("Yes"), token("</think>"), token("No", Yes=0.1)], 0.1, 0.9),
        # the rival is not listed: it has at most what is left over
        ([token("Yes")], 0.9, 0.1),
        # ... or at most what the least listed has
        ([token("Yes", The=0.02)], 0.9, 0.02),
        # vLLM writes -9999 for what cannot be
        ([GeneratedToken("Yes", {"Yes": math.log(0.9), "No": math.log(0.1), "x": -9999.0})], 0.9, 0.1),
    ],
)
def test_answers(positions: list[GeneratedToken], yes: float, no: float) -> None:
    answer = read(positions, WORDS)
    assert answer.kind == "answered"
    assert answer.logit == pytest.approx(math.log(yes / no), abs=1e-6)


@given(st.floats(0.01, 0.99), st.floats(0.5, 1.0))
def test_logit_is_the_log_odds_and_swaps_sign(share: float, mass: float) -> None:
    there = read([GeneratedToken("Yes", {"Yes": math.log(share * mass), "No": math.log((1 - share) * mass)})], WORDS)
    back = read([GeneratedToken("Yes", {"No": math.log(share * mass), "Yes": math.log((1 - share) * mass)})], WORDS)
    if there.kind == "answered":
        assert there.logit == pytest.approx(math.log(share / (1 - share)), abs=1e-6)
        assert back.logit == pytest.approx(-there.logit, abs=1e-6)
        assert there.mass == pytest.approx(mass, abs=1e-6)


@given(
    st.lists(st.tuples(st.text(max_size=12), st.dictionaries(st.text(max_size=8), st.floats(), max_size=4)), max_size=6)
)
def test_no_answer_makes_it_raise(tokens: list[tuple[str, dict[str, float]]]) -> None:
    answer = read([GeneratedToken(text, top) for text, top in tokens], WORDS)
    assert (answer.logit is None) == (answer.kind != "answered")
    assert answer.logit is None or math.isfinite(answer.logit)


SAID = st.sampled_from(["<", "think", ">", "<think>", "</think>", "\n", "<|begin_of_box|>", "Yes", "no", "The", ""])


@given(st.lists(SAID, max_size=6), st.lists(SAID, max_size=4))
def test_what_is_settled_stays_so(texts: list[str], more: list[str]) -> None:
    first = [token(text) for text in texts]
    if is_final(first, WORDS):
        then = read([*first, *map(token, more)], WORDS)
        assert (then.kind, then.logit) == (read(first, WORDS).kind, read(first, WORDS).logit)


@pytest.mark.parametrize(
    ("texts", "over"),
    [
        # nothing yet
        ([], False),
        # a blank, or a marker, says nothing
        (["\n"], False),
        (["<|begin_of_box|>"], False),
        # a trace of thought that may be about to open, and one that has
        (["<"], False),
        (["<think>", "Yes"], False),
        # prose and an answer, also after a thought
        (["The"], True),
        (["<", "b"], True),
        (["Yes"], True),
        (["<think>", "Hm", "</think>", "No"], True),
    ],
)
def test_settled(texts: list[str], over: bool) -> None:
    assert is_final([token(text) for text in texts], WORDS) is over


@pytest.mark.parametrize(("text", "word"), [(" Yes", "yes"), ("**No**", "no"), ("Ġno", "no"), ("\n", "")])
def test_plain(text: str, word: str) -> None:
    assert plain(text) == word
