"""Whether each store of section `stores` can be used: `python -m tasks.tools.stores`, in a checkout or a container.

It also makes the bucket DVC's default remote (`.dvc/config.local`), so that `dvc push` and `dvc pull` by hand find it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tasks.config import ConfigError, Params, load_params
from tasks.mining.database import DatabaseDown, external
from tasks.release.tracking import RegisterError, prepare
from tasks.stores.addresses import mongodb_uri
from tasks.stores.databases import check_prefect
from tasks.stores.dvc_remote import name_remote
from tasks.stores.errors import StoreError
from tasks.stores.s3 import check, place


def main() -> int:
    """Ask each of them, and say of all that fail why; exit code 1 then."""
    try:
        params = load_params()
    except ConfigError as error:
        print(f"stores: {error}", file=sys.stderr)
        return 1
    failed = [name for name, ask in stores(params).items() if not _asked(name, ask)]
    return 1 if failed else 0


def stores(params: Params) -> dict[str, Callable[[], object]]:
    """What to ask, by name; what is on this machine needs no answer, but MLflow's file is looked at."""
    found, s3 = params.stores, params.stores.s3
    asked: dict[str, Callable[[], object]] = {}
    if s3.bucket:
        asked[f"object store {place(s3)}"] = lambda: check(s3)
        if Path(".dvc").is_dir():
            asked["DVC's default remote"] = lambda: name_remote(Path(), s3)
    if found.prefect:
        asked["Prefect's database"] = lambda: check_prefect(found)
    if uri := mongodb_uri(found):
        asked["FiftyOne's database"] = lambda: external(uri)
    return {**asked, "MLflow": lambda: prepare(params)}


def _asked(name: str, ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (StoreError, RegisterError, DatabaseDown) as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    print(f"ok: {name}")
    return True


if __name__ == "__main__":
    sys.exit(main())
