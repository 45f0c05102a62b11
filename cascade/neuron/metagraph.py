"""Who is registered on the subnet, with stake and permit: from a file, or from the chain's own object."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class MetagraphError(RuntimeError):
    """The metagraph cannot be read."""


class Member(NamedTuple):
    """One registered hotkey."""

    uid: int
    stake: float
    has_permit: bool


class Metagraph(BaseModel):
    """The part of a subnet's metagraph that the rules read; lists in the order of the uids.

    Attributes:
        axons: addresses; only `streetvision doctor --miner` reads them, from the same file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    hotkeys: tuple[str, ...] = ()
    stake: tuple[float, ...] = ()
    validator_permit: tuple[bool, ...] = ()
    axons: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _lists_are_of_one_length(self) -> Self:
        if len({len(self.hotkeys), len(self.stake), len(self.validator_permit)}) != 1:
            raise ValueError("hotkeys, stake and validator_permit must have one entry a uid each")
        return self

    @cached_property
    def _members(self) -> dict[str, Member]:
        rows = enumerate(zip(self.hotkeys, self.stake, self.validator_permit, strict=True))
        return {hotkey: Member(uid, stake, permit) for uid, (hotkey, stake, permit) in rows}

    def find(self, hotkey: str | None) -> Member | None:
        """The member with a hotkey, by its ss58 address."""
        return self._members.get(hotkey) if hotkey else None


def read_file(path: Path) -> Metagraph:
    """Read a JSON file with the three lists.

    Raises:
        MetagraphError: it is missing, or of another shape.
    """
    try:
        return Metagraph.model_validate_json(path.read_bytes())
    except OSError as error:
        raise MetagraphError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))} {one['msg']}".strip() for one in error.errors()[:3])
        raise MetagraphError(f"{path}: {problems}") from None


def from_chain(found: Any) -> Metagraph:
    """Take what the rules need from a `bittensor.Metagraph`."""
    return Metagraph(
        hotkeys=tuple(str(one) for one in found.hotkeys),
        stake=tuple(float(one) for one in found.S),
        validator_permit=tuple(bool(one) for one in found.validator_permit),
    )
