"""Keys: where they come from, what is wrong with them, and whose is whose."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cascade.api.auth import ENVIRONMENT, KEY_VARIABLE, ServiceError, check_host, find_key, read_keys
from cascade.config import ConfigError

DIGEST = hashlib.sha256(b"secret").hexdigest()
OTHER = hashlib.sha256("schlüssel".encode()).hexdigest()
OUTSIDE = "0.0.0.0"  # noqa: S104 - what must be refused


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("a: [", "not YAML"),
        ("- a", "does not fit"),
        # the key itself instead of its digest, which must not be repeated
        ("miner: {sha256: my-plain-key}", "miner.sha256"),
        ("miner: my-plain-key", "miner"),
        (f"miner: {{sha256: {DIGEST}, requests_per_minute: 0}}", "miner.requests_per_minute"),
        (f"miner: {{sha256: {DIGEST}, per_hour: 5}}", "miner.per_hour"),
        (f"miner: {{requests_per_day: 5, sha: {DIGEST}}}", "miner.sha256"),
    ],
)
def test_a_file_that_does_not_fit_is_explained(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "keys.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=message) as raised:
        read_keys(file)
    assert "keys.yaml" in str(raised.value)
    assert "my-plain-key" not in str(raised.value)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b"", None),
        (b"Bearer ", None),
        (b"secret", None),
        (b"Basic secret", None),
        (b"Bearer wrong", None),
        # the digest is no key
        (f"Bearer {DIGEST}".encode(), None),
        (b"Bearer \xff\xfe", None),
        (b"Bearer secret", "miner"),
        ("Bearer schlüssel".encode(), "other"),
        (b"Bearer by hand", ENVIRONMENT),
    ],
)
def test_whose_key_it_is(tmp_path: Path, header: bytes, name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(f"miner: {{sha256: {DIGEST}, requests_per_minute: 60}}\nother: {{sha256: {OTHER}}}\n")
    monkeypatch.setenv(KEY_VARIABLE, "by hand")
    assert find_key(header, read_keys(file)) == name


def test_the_variable_may_hold_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, f"sha256:{DIGEST}")
    assert find_key(b"Bearer secret", read_keys()) == ENVIRONMENT


@pytest.mark.parametrize(("text", "allowed"), [("", False), ("{}", False), (f"a: {{sha256: {DIGEST}}}", True)])
def test_a_file_with_a_key_opens_the_outside(tmp_path: Path, text: str, allowed: bool) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    if allowed:
        check_host(OUTSIDE, file)
    else:
        with pytest.raises(ServiceError, match=r"serve\.key_file"):
            check_host(OUTSIDE, file)
