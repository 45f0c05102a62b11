"""From a model's tokens to yes or no: pure functions, the same for every backend."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade.vlm.base import VlmAnswer

# around a bare word: spaces, BPE's and SentencePiece's markers of them, quotes, emphasis
TRIMMED = " \t\r\n\u0120\u010a\u2581\"'`*_.,:!"
OPEN, CLOSED = "<think>", "</think>"
# GLM puts its answer into a box, and templates leave markers; none of them is the answer
MARKER = re.compile(r"<[|/]?[^<>]*[|]?>")
SHOWN = 80
SMALLEST = 1e-9


@dataclass(frozen=True)
class GeneratedToken:
    """One generated token.

    Attributes:
        text: the token that was chosen.
        top: log-probabilities of the likeliest tokens there, by text; the chosen one may be among them.
    """

    text: str
    top: Mapping[str, float]


@dataclass(frozen=True)
class AnswerWords:
    """What counts as an answer.

    Attributes:
        yes, no: words in lower case.
        min_mass: P(yes) + P(no) from which a token counts as the answer.
    """

    yes: Collection[str]
    no: Collection[str]
    min_mass: float


def plain(token: str) -> str:
    """A token as the word that it is."""
    return token.strip(TRIMMED).lower()


def read(positions: Sequence[GeneratedToken], words: AnswerWords) -> VlmAnswer:
    """Find the token that answers and weigh yes against no there.

    Traces of thought, markers and blanks before it are passed over; anything else before it makes the answer malformed.
    A word that is not among the listed tokens counts with what it can have at most, the least listed probability or all
    that is left over: the answer is then less sure than the model was, never surer.
    """
    said = "".join(position.text for position in positions)
    rest = _after_thought(positions)
    if rest is None:
        return _malformed(said, f"its thought had not ended after {len(positions)} tokens; raise vlm.max_tokens")
    for position in rest:
        if bad := _unsound(position.top.values()):
            return _malformed(said, f"its log-probabilities are no numbers: {bad}")
        answer = _weigh(position, words)
        if answer is not None:
            return VlmAnswer("answered", answer[0], answer[1], said[:SHOWN])
        if _is_prose(position):
            return _malformed(said, f"it said {said[:SHOWN]!r} instead of yes or no")
    return _malformed(said, "it said nothing" if not positions else f"it ended with {said[:SHOWN]!r} before an answer")


def is_final(positions: Sequence[GeneratedToken], words: AnswerWords) -> bool:
    """Whether `read` says the same of these tokens and of any that begin with them, so that no more are needed."""
    rest = _after_thought(positions)
    # a trace of thought may still be about to open
    if rest is None or OPEN.startswith("".join(position.text for position in positions).lstrip()):
        return False
    return any(_unsound(position.top.values()) or _weigh(position, words) or _is_prose(position) for position in rest)


def _is_prose(position: GeneratedToken) -> bool:
    return bool(plain(position.text)) and not MARKER.fullmatch(position.text.strip())


def _malformed(said: str, why: str) -> VlmAnswer:
    return VlmAnswer("malformed", said=said[:SHOWN], why=f"malformed answer: {why}")


def _after_thought(positions: Sequence[GeneratedToken]) -> Sequence[GeneratedToken] | None:
    """What follows a trace of thought; None where one began and did not end. A marker may be several tokens."""
    text, ends = "", []
    for position in positions:
        text += position.text
        ends.append(len(text))
    if not text.lstrip().startswith(OPEN):
        return positions
    closed = text.find(CLOSED)
    if closed < 0:
        return None
    return [position for position, end in zip(positions, ends, strict=True) if end > closed + len(CLOSED)]


def _unsound(values: Collection[float]) -> str:
    bad = [value for value in values if not math.isfinite(value) or value > 1e-3]
    return str(bad[0]) if bad else ""


def _weigh(position: GeneratedToken, words: AnswerWords) -> tuple[float, float] | None:
    """Logit and mass at one token; None where yes and no together are unlikely there."""
    yes = sum(math.exp(value) for token, value in position.top.items() if plain(token) in words.yes)
    no = sum(math.exp(value) for token, value in position.top.items() if plain(token) in words.no)
    if yes + no < words.min_mass:
        return None
    rest = 1 - sum(map(math.exp, position.top.values()))
    floor = min(math.exp(min(position.top.values())), max(rest, SMALLEST))
    return math.log(max(yes, floor, SMALLEST)) - math.log(max(no, floor, SMALLEST)), min(yes + no, 1.0)


def word_ids(tokenizer: Any, words: Collection[str]) -> list[int]:
    """Ids of the single tokens that are one of the words, small or in capitals, with a blank before it or not."""
    found: set[int] = set()
    for word in words:
        for shape in (word, word.capitalize(), word.upper()):
            for text in (shape, f" {shape}"):
                ids = tokenizer.encode(text, add_special_tokens=False)
                if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
                    found.add(ids[0])
    return sorted(found)
