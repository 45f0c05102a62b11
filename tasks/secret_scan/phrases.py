"""Recovery phrases of wallets (BIP-39) in any text, told from prose and code by their checksum.

A phrase is 12, 15, 18, 21 or 24 words of a list of 2048, and its last bits are a checksum of the others
(https://github.com/bitcoin/bips/blob/master/bip-0039.mediawiki). Substrate, and so bittensor's wallet, takes the
English list. Words may be parted by anything, such as commas, quotes, numbers or line ends, that is mostly the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnemonic import Mnemonic

LENGTHS = (24, 21, 18, 15, 12)
SHORTEST = LENGTHS[-1]
LONGEST_GAP = 40  # bytes between two words of a phrase
ALIKE = 2 / 3  # share of the gaps that are the same but for digits and white space; in code they differ
LETTERS = bytes(ord(chr(code).lower()) if chr(code).isascii() and chr(code).isalpha() else 32 for code in range(256))
WORD = re.compile(rb"[a-z]+")


@dataclass(frozen=True)
class Word:
    """A word of the list at an offset in bytes, and what stands between the word before and this one."""

    start: int
    text: str
    gap: bytes


def find_phrases(text: bytes) -> Iterator[tuple[int, int]]:
    """Give (offset in bytes, number of words) of every recovery phrase.

    Words in alphabetical order are no phrase, nor are a few words again and again: these are the word list itself and
    the test vectors of BIP-39, which nobody has money on.

    Raises:
        ModuleNotFoundError: the package `mnemonic` (extra `train`) is not installed.
    """
    known = _words()
    plain = text.translate(LETTERS)
    # loops in C alone: for nearly every file this is all that is done
    if b"\x01" * SHORTEST not in bytes(map(known.__contains__, plain.split())):
        return
    for run in _runs(text, plain, known):
        yield from _phrases_of(run)


def _runs(text: bytes, plain: bytes, known: frozenset[bytes]) -> Iterator[list[Word]]:
    """Runs of neighbouring words of the list, of at least the shortest length."""
    run: list[Word] = []
    end = 0
    for found in WORD.finditer(plain):
        listed = found.group() in known
        if run and not (listed and found.start() - end <= LONGEST_GAP):
            if len(run) >= SHORTEST:
                yield run
            run = []
        if listed:
            run.append(Word(found.start(), found.group().decode(), text[end : found.start()] if run else b""))
        end = found.end()
    if len(run) >= SHORTEST:
        yield run


def _phrases_of(run: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """The longest phrase first: by chance a part of one, or a word before it, has a right checksum too."""
    for length in LENGTHS:
        for start in range(len(run) - length + 1):
            if _is_phrase(run[start : start + length]):
                yield from _phrases_of(run[:start])
                yield run[start].start, length
                yield from _phrases_of(run[start + length :])
                return


def _is_phrase(run: Sequence[Word]) -> bool:
    words = [word.text for word in run]
    if len(set(words)) <= len(words) // 3 or all(a < b for a, b in pairwise(words)):
        return False
    gaps = Counter(re.sub(rb"[\s\d]+", b" ", word.gap) for word in run[1:])
    return max(gaps.values()) >= ALIKE * (len(words) - 1) and _english().check(" ".join(words))


@cache
def _english() -> Mnemonic:
    from mnemonic import Mnemonic

    return Mnemonic("english")


@cache
def _words() -> frozenset[bytes]:
    return frozenset(word.encode() for word in _english().wordlist)
