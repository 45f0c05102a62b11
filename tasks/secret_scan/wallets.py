"""Private keys of a bittensor wallet, by what its files look like and where btcli puts them."""

from __future__ import annotations

import re
from collections.abc import Iterator

# an unencrypted keyfile is JSON with these keys; `coldkeypub.txt` has neither
MARKS = (b"secretPhrase", b"secretSeed", b"privateKey")
PLAIN = re.compile(
    rb"(?:secretPhrase[\"']?\s*[:=]\s*[\"'](?:[a-z]+ ){11}|"
    rb"(?:secretSeed|privateKey)[\"']?\s*[:=]\s*[\"']?0x[0-9a-fA-F]{64})"
)
# an encrypted one begins so: NaCl, or Ansible's vault of older versions
ENCRYPTED = (b"$NACL", b"$ANSIBLE_VAULT;")
# wallets/NAME/coldkey and wallets/NAME/hotkeys/NAME
PLACE = re.compile(r"(?:^|/)wallets/[^/]+/(?:coldkey|hotkeys/[^/]+)$")


def find_wallets(path: str, text: bytes) -> Iterator[tuple[int, str]]:
    """Give (offset in bytes, kind) of every private key of a wallet.

    Args:
        path: of the file, with slashes.
        text: its content.
    """
    if text.startswith(ENCRYPTED):
        yield 0, "encrypted key of a wallet, which its password alone keeps"
        return
    # the search for plain words is many times faster than that for the pattern
    first = PLAIN.search(text) if any(mark in text for mark in MARKS) else None
    if first:
        yield first.start(), "private key of a wallet, not encrypted"
    elif PLACE.search(path) and not path.endswith("pub.txt"):
        yield 0, "file of a wallet, by its place"
