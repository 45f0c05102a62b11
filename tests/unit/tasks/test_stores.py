"""Section `stores`: a secret in the file is refused with the variable's name, and addresses get it from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.config.base import validated
from tasks.config import PARAMS_FILE, ConfigError, Params, StoresParams, load_params
from tasks.config.stores import PASSWORDS
from tasks.stores import addresses, s3
from tests.support.paths import ROOT

DOCUMENT = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("stores", "message"),
    [
        # a password each
        ({"prefect": "postgresql://me:hush@host/prefect"}, "stores.prefect: .*STREETVISION_PREFECT_DB_PASSWORD"),
        ({"mlflow": "postgresql://me:hush@host/mlflow"}, "stores.mlflow: .*STREETVISION_MLFLOW_DB_PASSWORD"),
        ({"mlflow": "https://me:hush@host"}, "stores.mlflow: .*MLFLOW_TRACKING_PASSWORD"),
        ({"mongodb": "mongodb://me:hush@host/"}, "stores.mongodb: .*STREETVISION_MONGODB_PASSWORD"),
        # behind the address, where Postgres takes it as well
        ({"mlflow": "postgresql://host/mlflow?user=me&password=hush"}, "stores.mlflow: .*MLFLOW_DB_PASSWORD"),
        ({"s3": {"endpoint": "https://key:hush@host"}}, "stores.s3.endpoint: .*AWS_ACCESS_KEY_ID and AWS_SECRET"),
        # a key of S3 has no place at all
        ({"s3": {"secret_access_key": "hush"}}, r"stores.s3.secret_access_key: Extra inputs"),
        ({"postgres": "postgresql://host/x"}, "stores.postgres: Extra inputs"),
        # another kind of address
        ({"prefect": "mysql://host/prefect"}, "stores.prefect: .*postgresql://HOST"),
        ({"prefect": "postgresql:///prefect"}, "stores.prefect: .*postgresql://HOST"),
        ({"mongodb": "http://host"}, "stores.mongodb: .*mongodb://HOST or mongodb"),
        ({"s3": {"endpoint": "host:9000"}}, "stores.s3.endpoint: .*http://HOST"),
        ({"s3": {"bucket": "s3://bucket"}}, "stores.s3.bucket: "),
        ({"s3": {"wait_seconds": -1}}, "stores.s3.wait_seconds: "),
    ],
)
def test_what_is_refused(stores: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        validated(Params, {**DOCUMENT, "stores": stores}, PARAMS_FILE)
    assert "hush" not in str(error.value)


def test_without_settings_all_is_on_this_machine() -> None:
    stores = load_params(ROOT / "params.yaml").stores
    assert stores == StoresParams()
    assert addresses.mlflow_uri(stores, {}) == "sqlite:///var/mlflow.db"
    assert addresses.prefect_url(stores, {}) is None
    assert addresses.mongodb_uri(stores, {}) is None
    environ: dict[str, str] = {}
    s3.settle(stores.s3, environ)
    addresses.name_prefect_database(environ, ROOT / "params.yaml")
    assert environ == {}


@settings(max_examples=30)
@given(secret=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_a_password_comes_through_as_it_is(secret: str) -> None:
    stores = StoresParams(
        prefect="postgresql://me@host:5433/prefect?ssl=require",
        mlflow="postgresql://me@host/mlflow",
        mongodb="mongodb://me@one,two/?replicaSet=rs",
    )
    environ = dict.fromkeys(PASSWORDS.values(), secret)
    found = [addresses.prefect_url(stores, environ), addresses.mlflow_uri(stores, environ)]
    for url in (*found, addresses.mongodb_uri(stores, environ)):
        parts = urlsplit(str(url))
        assert (parts.username, unquote(parts.password or "")) == ("me", secret)
    assert str(found[0]).startswith("postgresql+asyncpg://me:")
    assert str(found[0]).endswith("@host:5433/prefect?ssl=require")


@pytest.mark.parametrize(
    ("address", "environ"),
    [
        # no user, no password
        ("postgresql://host/mlflow", {"V": "hush"}),
        # trust, or a file of passwords
        ("postgresql://me@host/mlflow", {}),
        ("postgresql://me@host/mlflow", {"V": ""}),
    ],
)
def test_an_address_that_stays_as_it_is(address: str, environ: dict[str, str]) -> None:
    assert addresses.with_password(address, "V", environ) == address


def test_a_prefect_server_of_ours_gets_the_database_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump({"stores": {"prefect": "postgresql://me@host/p"}}), encoding="utf-8")
    environ = {addresses.PREFECT_URL: "sqlite:///of-the-shell", PASSWORDS["prefect"]: "a/b"}
    addresses.name_prefect_database(environ, file)
    assert environ[addresses.PREFECT_URL] == "postgresql+asyncpg://me:a%2Fb@host/p"
    # parameters that do not fit are said by the flow
    file.write_text("stores: {prefect: 1}", encoding="utf-8")
    addresses.name_prefect_database(environ, file)


def test_variables_of_earlier_versions_are_named() -> None:
    assert addresses.retired("STREETVISION_MLFLOW_URI", {}) is None
    line = addresses.retired("STREETVISION_MLFLOW_URI", {"STREETVISION_MLFLOW_URI": "postgresql://me:hush@host/x"})
    assert line is not None
    assert "stores.mlflow" in line
    assert "hush" not in line
