"""What was read on a picture against the keywords of roadworks in `keywords.yaml`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("keywords.yaml")
# a letter more or less makes another word of a short one
EXACT_UNDER = 6
WORD = re.compile(r"[^\W_]+")
# Chinese, Japanese kana and Thai are written without spaces
UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
# letters that no decomposition takes apart
LETTERS = str.maketrans({"ß": "ss", "ø": "o", "æ": "ae", "ł": "l", "đ": "d", "\u0131": "i"})


@dataclass(frozen=True)
class Keyword:
    """One keyword: its variants as folded words; `support` counts only beside another."""

    name: str
    language: str
    support: bool
    variants: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class KeywordHit:
    """A keyword that was found: where among the words, and how alike (0 to 1)."""

    keyword: Keyword
    start: int
    end: int
    similarity: float


def find_keywords(lines: Sequence[str], min_similarity: float) -> list[KeywordHit]:
    """Find the keywords in the lines of one picture, top line first; a sign's lines are read on as one text.

    Words that make up one keyword do not count for another, and each keyword counts once.

    Args:
        lines: as read, any case.
        min_similarity: of the letters without spaces, Ratcliff and Obershelp's measure; short words must be equal.

    Returns:
        The hits in the order of the text; empty where only supporting words were found.
    """
    words = [word for line in lines for word in fold(line)]
    found = [*_spaced(words, min_similarity), *_unspaced(words)]
    hits: list[KeywordHit] = []
    for hit in sorted(
        found,
        key=lambda one: (-one.similarity, one.start - one.end, -len("".join(words[one.start : one.end])), one.start),
    ):
        taken = any(hit.start < other.end and other.start < hit.end for other in hits if not _is_unspaced(hit))
        if not taken and all(hit.keyword.name != other.keyword.name for other in hits):
            hits.append(hit)
    return sorted(hits, key=lambda one: one.start) if any(not hit.keyword.support for hit in hits) else []


def fold(text: str) -> list[str]:
    """Split into words without case and accents."""
    plain = unicodedata.normalize("NFKD", text.casefold().translate(LETTERS))
    # Japanese voicing marks and Korean syllables are put together again, other marks go
    kept = "".join(mark for mark in plain if not unicodedata.combining(mark) or mark in "\u3099\u309a")
    return WORD.findall(unicodedata.normalize("NFKC", kept).replace("'", "").replace("\u2019", ""))


@cache
def keywords() -> tuple[Keyword, ...]:
    """All keywords of the data file."""
    document = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return tuple(
        _keyword(entry, language, group == "support")
        for language, groups in document.items()
        for group, entries in groups.items()
        for entry in entries
    )


def _keyword(entry: str, language: str, support: bool) -> Keyword:
    variants = [variant.strip() for variant in entry.split("|")]
    return Keyword(variants[0], language, support, tuple(tuple(fold(variant)) for variant in variants))


def _spaced(words: Sequence[str], min_similarity: float) -> Iterable[KeywordHit]:
    for keyword in keywords():
        for variant in keyword.variants:
            wanted = "".join(variant)
            if UNSPACED.search(wanted):
                continue
            # readers join and split words, so one word more or less may make the same letters
            for width in range(max(1, len(variant) - 1), len(variant) + 2):
                for start in range(len(words) - width + 1):
                    like = _alike("".join(words[start : start + width]), wanted, min_similarity)
                    if like:
                        yield KeywordHit(keyword, start, start + width, like)


def _unspaced(words: Sequence[str]) -> Iterable[KeywordHit]:
    for keyword in keywords():
        for variant in keyword.variants:
            wanted = "".join(variant)
            if UNSPACED.search(wanted):
                yield from (KeywordHit(keyword, i, i + 1, 1.0) for i, word in enumerate(words) if wanted in word)


def _is_unspaced(hit: KeywordHit) -> bool:
    return bool(UNSPACED.search(hit.keyword.name))


def _alike(read: str, wanted: str, least: float) -> float:
    """Similarity where it is enough, else 0."""
    if read == wanted:
        return 1.0
    if min(len(read), len(wanted)) < EXACT_UNDER or 2 * min(len(read), len(wanted)) < least * (len(read) + len(wanted)):
        return 0.0
    matcher = SequenceMatcher(None, read, wanted, autojunk=False)
    like = matcher.quick_ratio() if matcher.quick_ratio() < least else matcher.ratio()
    return like if like >= least else 0.0
