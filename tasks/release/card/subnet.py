"""model_card.json of a model's repository on the Hub, as the subnet's docs/Mining.md and its validators' code have it.

Validators of 2025 required name, version, hotkey and time, and took a time in seconds or in milliseconds, as a
number or as text (natix/validator, commit be78169). Today's code checks nothing; `ModelCard` checks what they did.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from tasks.common.files import write_bytes

FILE = "model_card.json"
MILLISECONDS = 1e12  # a larger time is in milliseconds: in seconds it would be the year 33658
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
ADDRESS_BYTES, CHECKSUM_BYTES = 35, 2  # prefix, 32 bytes of the key, checksum
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class CardError(ValueError):
    """A model_card.json that a validator would refuse."""


class ModelCard(BaseModel):
    """The card of the subnet; an unknown key is an error, since a misspelt one would be passed over.

    Attributes:
        version: X.Y.Z.
        submitted_by: the miner's hotkey, an ss58 address; it is public.
        submission_time: Unix time in seconds or milliseconds, a number or text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    model_name: Text
    description: str = ""
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    submitted_by: str
    submission_time: int | float | str
    architecture: str | None = None
    notes: str | None = None

    @field_validator("submitted_by")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not is_ss58(value):
            raise ValueError("is no ss58 address; `btcli wallet list` shows the hotkey's (never its mnemonic)")
        return value

    @field_validator("submission_time", mode="before")
    @classmethod
    def _is_a_time(cls, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError("is no number and no text")
        seconds_of(value)
        return value

    @property
    def submitted_at(self) -> datetime:
        """The time of submission, UTC."""
        return datetime.fromtimestamp(seconds_of(self.submission_time), UTC)


def read_card(text: str | bytes) -> ModelCard:
    """Check a model_card.json.

    Raises:
        CardError: names every key that a validator would refuse.
    """
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors())
        raise CardError(f"{FILE}: {faults}") from None


def write_card(folder: Path, card: ModelCard) -> Path:
    """Write model_card.json into a folder; gives the file."""
    path = folder / FILE
    write_bytes(path, f"{card.model_dump_json(indent=1, exclude_none=True)}\n".encode())
    return path


def seconds_of(time: int | float | str) -> float:
    """Unix seconds of a time in seconds or milliseconds.

    Raises:
        ValueError: it is no positive finite number.
    """
    try:
        number = float(time)
    except ValueError:
        number = float("nan")
    # written so that NaN fails
    if not 0 < number < MILLISECONDS * 1000:
        raise ValueError(f"{time!r} is no Unix time in seconds or milliseconds")
    return number / 1000 if number > MILLISECONDS else number


def is_ss58(address: str) -> bool:
    """Whether a text is an ss58 address of an account with a right checksum (Substrate's docs, "Address encoding")."""
    number = 0
    for sign in address:
        if (value := ALPHABET.find(sign)) < 0:
            return False
        number = number * len(ALPHABET) + value
    if number >= 1 << 8 * ADDRESS_BYTES:
        return False
    raw = number.to_bytes(ADDRESS_BYTES, "big")
    body, given = raw[:-CHECKSUM_BYTES], raw[-CHECKSUM_BYTES:]
    return hashlib.blake2b(b"SS58PRE" + body).digest()[:CHECKSUM_BYTES] == given
