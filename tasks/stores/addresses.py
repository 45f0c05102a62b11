"""Addresses of section `stores` with the passwords that the environment holds; what opens a store asks here."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from tasks.config import PARAMS_FILE, ConfigError
from tasks.config.stores import PASSWORDS, StoresParams

# what Prefect's server reads, and FiftyOne in a process that we start
PREFECT_URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
FIFTYONE_URI = "FIFTYONE_DATABASE_URI"
# settings of earlier versions, each of which could hold a password; each with the keys that took its place
RETIRED = {
    "STREETVISION_MLFLOW_URI": f"stores.mlflow in params.yaml, and {PASSWORDS['mlflow']}",
    FIFTYONE_URI: f"stores.mongodb in params.yaml, and {PASSWORDS['mongodb']}",
}


def retired(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """One line where a variable of an earlier version is set, which nothing reads any more; else None."""
    return f"{name} is not read any more: unset it, and set {RETIRED[name]}" if environ.get(name) else None


def with_password(address: str, variable: str, environ: Mapping[str, str] = os.environ) -> str:
    """Put a variable's password behind the user that an address names; without user or password it stays as it is."""
    found = urlsplit(address)
    user, at, host = found.netloc.rpartition("@")
    secret = environ.get(variable)
    if not at or not secret:
        return address
    # `:///` of SQLite has no user and does not come here
    return urlunsplit(found._replace(netloc=f"{user}:{quote(secret, safe='')}@{host}"))


def mlflow_uri(stores: StoresParams, environ: Mapping[str, str] = os.environ) -> str:
    """The address of MLflow's store."""
    return stores.mlflow if "@" not in stores.mlflow else with_password(stores.mlflow, PASSWORDS["mlflow"], environ)


def mongodb_uri(stores: StoresParams, environ: Mapping[str, str] = os.environ) -> str | None:
    """The address of FiftyOne's database; None for one of our own."""
    return stores.mongodb and with_password(stores.mongodb, PASSWORDS["mongodb"], environ)


def prefect_url(stores: StoresParams, environ: Mapping[str, str] = os.environ) -> str | None:
    """The address of Prefect's database, as its server takes it; None for its own SQLite."""
    if stores.prefect is None:
        return None
    url = with_password(stores.prefect, PASSWORDS["prefect"], environ)
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)


def name_prefect_database(environ: MutableMapping[str, str] = os.environ, params: Path = PARAMS_FILE) -> None:
    """Tell a Prefect server that this process starts its database; one of `prefect.toml` or of the shell is not read.

    Parameters that do not fit are left for `load_params`, which says so.
    """
    from cascade.config.base import read_sections, validated

    try:
        stores = validated(StoresParams, read_sections(params).get("stores") or {}, params)
    except ConfigError:
        return
    if url := prefect_url(stores, environ):
        environ[PREFECT_URL] = url


def how(key: str, environ: Mapping[str, str] = os.environ) -> str:
    """The key of params.yaml behind an address, and the variable of its password; the last words of an error."""
    variable = PASSWORDS[key]
    return f"stores.{key} in params.yaml; {variable} is {'set' if environ.get(variable) else 'not set'}"
