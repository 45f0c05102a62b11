"""Who may reach the service: this machine only, until there is a key."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from cascade.config.base import ConfigError, Section

KEY_VARIABLE = "STREETVISION_API_KEY"
# name of the key in the environment, in logs and metrics
ENVIRONMENT = "environment"
SCHEME = b"Bearer "
HASHED = "sha256:"


class ServiceError(RuntimeError):
    """The service cannot be started as it is configured."""


class ApiKey(Section):
    """What the service knows of a key: its digest, and how much it may ask for; None is no limit."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    requests_per_minute: int | None = Field(default=None, ge=1)
    requests_per_day: int | None = Field(default=None, ge=1)


Keys = Mapping[str, ApiKey]


def read_keys(file: Path | None = None) -> Keys:
    """Give the keys by name: those of a file, and that of `STREETVISION_API_KEY`.

    A key is a random text of at least 128 bits, so that its plain SHA-256 cannot be reversed by trying. The variable
    holds the key itself or `sha256:` and the digest; an empty one is no key.

    Args:
        file: YAML, `name: {sha256: ..., requests_per_minute: ..., requests_per_day: ...}`.

    Raises:
        ConfigError: the file is missing or does not fit; names the key and what is wrong.
    """
    keys = dict(_read_file(file)) if file else {}
    if given := os.environ.get(KEY_VARIABLE):
        keys[ENVIRONMENT] = ApiKey(sha256=given.removeprefix(HASHED) if given.startswith(HASHED) else _digest(given))
    return keys


def _read_file(file: Path) -> Keys:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, ApiKey]).validate_python(document or {})
    except OSError as error:
        raise ConfigError(f"serve.key_file {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"serve.key_file {file}: not YAML: {error}") from None
    except ValidationError as error:
        # without the values: a key in plain text that was put there by mistake must not reach a log
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError("\n".join([f"serve.key_file {file} does not fit:", *lines])) from None


def check_host(host: str, file: Path | None = None) -> None:
    """Refuse to listen beyond this machine without a key.

    Raises:
        ServiceError: says which variable to set.
        ConfigError: as `read_keys`.
    """
    if not read_keys(file) and not _is_loopback(host):
        raise ServiceError(
            f"serve.host {host} can be reached from outside: set {KEY_VARIABLE} or serve.key_file, or use 127.0.0.1"
        )


def find_key(authorization: bytes, keys: Keys) -> str | None:
    """Give the name of the key that an `Authorization` header carries; None where it carries none of them.

    Every key is compared, in a time that does not tell how much of it is right.

    Args:
        authorization: the header's bytes as they came; keys beyond ASCII travel as UTF-8.
        keys: of `read_keys`.
    """
    if not authorization.startswith(SCHEME):
        return None
    digest = hashlib.sha256(authorization.removeprefix(SCHEME)).hexdigest()
    same = [name for name, key in keys.items() if hmac.compare_digest(digest, key.sha256)]
    return same[0] if same else None


def _digest(key: str) -> str:
    return hashlib.sha256(os.fsencode(key)).hexdigest()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
