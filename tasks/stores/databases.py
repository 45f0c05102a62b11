"""Whether Prefect's Postgres can be used, said in one line before its server is started."""

from __future__ import annotations

from tasks.config.stores import StoresParams
from tasks.stores.addresses import how, prefect_url
from tasks.stores.errors import StoreError

CONNECT_SECONDS = 10


def check_prefect(stores: StoresParams) -> None:
    """Connect once.

    Raises:
        StoreError: it does not answer or refuses; names the key and the variable, and no password.
    """
    if (url := prefect_url(stores)) is None:
        return
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    # what asyncpg calls `ssl` is not known to psycopg2, and is of no matter to whether it answers
    address = make_url(url).set(drivername="postgresql").difference_update_query(["ssl"])
    options = {"connect_timeout": CONNECT_SECONDS}
    try:
        create_engine(address, poolclass=NullPool, connect_args=options).connect().close()
    except SQLAlchemyError as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        shown = address.render_as_string(hide_password=True)
        raise StoreError(f"Prefect's database at {shown}: {first} ({how('prefect')})") from None
