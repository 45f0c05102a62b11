"""The database of Prefect's server, named before Prefect is imported.

The package `flows` calls this whenever it is imported, for `streetvision --help` too, so that pydantic and the sections
are only imported where there is a database to name.
"""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
SCHEME = "postgresql:"  # of every address of a database that is not Prefect's own


def name_database(params: Path = PARAMS) -> None:
    """See `tasks.stores.addresses.name_prefect_database`; nothing is done where no Postgres is named."""
    if not names_postgres(params):
        return
    from tasks.stores.addresses import name_prefect_database

    name_prefect_database(params=params)


def names_postgres(params: Path) -> bool:
    """Whether a line of the file has an address of Postgres outside of its comment."""
    try:
        lines = params.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return any(SCHEME in line.partition(" #")[0] and not line.lstrip().startswith("#") for line in lines)
