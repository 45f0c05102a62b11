"""Who may reach the service: this machine only, until there is a key."""

from __future__ import annotations

import hmac
import ipaddress
import os

KEY_VARIABLE = "STREETVISION_API_KEY"


class ServiceError(RuntimeError):
    """The service cannot be started as it is configured."""


def check_host(host: str) -> None:
    """Refuse to listen beyond this machine without a key.

    Raises:
        ServiceError: says which variable to set.
    """
    if not os.environ.get(KEY_VARIABLE) and not _is_loopback(host):
        raise ServiceError(f"serve.host {host} can be reached from outside: set {KEY_VARIABLE}, or use 127.0.0.1")


def is_allowed(authorization: bytes, key: str) -> bool:
    """Say whether an `Authorization` header carries the key, in a time that does not tell how much of it is right.

    Args:
        authorization: the header's bytes as they came; keys beyond ASCII travel as UTF-8.
        key: of the service; empty: every request is allowed.
    """
    return not key or hmac.compare_digest(authorization, b"Bearer " + os.fsencode(key))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
