"""A Postgres of Prefect is named early, and files without one cost nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.stores.addresses import PREFECT_URL
from tasks.stores.prefect_server import PARAMS, name_database, names_postgres
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("stores:\n  prefect: postgresql://me@host/prefect\n", True),
        ("stores: {prefect: 'postgresql://me@host/prefect'}\n", True),  # in one line
        ("stores:\n  mlflow: postgresql://me@host/mlflow  # of MLflow\n", True),  # looked at more closely then
        ("stores:\n  prefect: null  # postgresql://USER@HOST/NAME\n", False),  # the comment of the file as it comes
        ("# postgresql://me@host/prefect\n", False),
        ("stores: {}\n", False),
        ("", False),
    ],
)
def test_an_address_outside_of_comments(tmp_path: Path, text: str, found: bool) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    assert names_postgres(file) == found


def test_no_file_and_another_encoding_name_none(tmp_path: Path) -> None:
    assert not names_postgres(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    assert not names_postgres(tmp_path / "params.yaml")


def test_the_projects_own_file_names_none() -> None:
    assert not names_postgres(ROOT / PARAMS)


def test_the_address_reaches_prefect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFECT_URL, "sqlite:///other.db")
    monkeypatch.setenv("STREETVISION_PREFECT_DB_PASSWORD", "p/w")
    file = tmp_path / "params.yaml"
    file.write_text("stores:\n  prefect: postgresql://me@host/prefect\n")
    name_database(file)
    assert os.environ[PREFECT_URL] == "postgresql+asyncpg://me:p%2Fw@host/prefect"  # pragma: allowlist secret
