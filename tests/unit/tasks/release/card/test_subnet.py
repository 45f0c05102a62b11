"""model_card.json as validators of the subnet checked it: fields, both forms of time, and a hotkey with a checksum."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.release.card.reports import Reports
from tasks.release.card.subnet import CardError, is_ss58, read_card, write_card
from tasks.tools.model_card import subnet_card

# Alice, the development account that every Substrate node knows
ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
SECONDS = 1764212400
CARD: dict[str, Any] = {
    "model_name": "roadwork",
    "description": "roadwork in streets",
    "version": "1.2.3",
    "submitted_by": ALICE,
    "submission_time": SECONDS,
}


@pytest.mark.parametrize(
    "time",
    [
        SECONDS,  # seconds, as softdev629's card has them
        SECONDS * 1000,
        str(SECONDS),
        str(SECONDS * 1000),  # milliseconds as text, as pruning's card has them
        float(SECONDS),
    ],
)
def test_every_form_of_time_is_the_same_moment(time: object) -> None:
    card = read_card(json.dumps({**CARD, "submission_time": time}))
    assert card.submitted_at == datetime.fromtimestamp(SECONDS, UTC)


@pytest.mark.parametrize("missing", ["model_name", "version", "submitted_by", "submission_time"])
def test_what_validators_require_is_named(missing: str) -> None:
    with pytest.raises(CardError, match=rf"model_card.json: {missing}: "):
        read_card(json.dumps({name: value for name, value in CARD.items() if name != missing}))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"version": "1.2"}, "version"),
        ({"version": "v1.2.3"}, "version"),
        ({"version": 1.2}, "version"),
        ({"model_name": " "}, "model_name"),
        # one sign of the address is another one: the checksum tells
        ({"submitted_by": ALICE[:-1] + "Z"}, "ss58"),
        ({"submitted_by": "bottom drive obey lake curtain smoke"}, "mnemonic"),
        ({"submitted_by": ""}, "ss58"),
        ({"submission_time": "today"}, "Unix time"),
        ({"submission_time": -1}, "Unix time"),
        ({"submission_time": SECONDS * 1_000_000}, "Unix time"),  # microseconds
        ({"submission_time": True}, "no number"),
        ({"submission_time": None}, "no number"),
        ({"submitted_at": SECONDS}, "submitted_at"),  # a key that no validator reads
    ],
)
def test_a_card_that_would_be_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(CardError, match=word):
        read_card(json.dumps({**CARD, **changes}))


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_file_that_is_no_card(text: str) -> None:
    with pytest.raises(CardError, match=r"model_card\.json"):
        read_card(text)


@pytest.mark.parametrize(("address", "right"), [(ALICE, True), ("1" * 48, False), ("0OIl", False), ("z" * 60, False)])
def test_addresses(address: str, *, right: bool) -> None:
    assert is_ss58(address) is right


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "reports/validate").mkdir(parents=True)
    (tmp_path / "reports/validate/metrics.json").write_text('{"mcc": 0.9047}')
    card = subnet_card(Reports(tmp_path), ALICE, "0.1.0", SECONDS + 0.7)
    read = read_card(write_card(tmp_path, card).read_bytes())
    assert read == card
    assert read.submission_time == SECONDS
    assert read.notes == "challenge set: mcc 0.905"
