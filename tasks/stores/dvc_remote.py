"""DVC's default remote from `stores.s3`, in `.dvc/config.local`, so that `dvc pull` by hand finds it too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cascade.extras import require
from tasks.config.stores import ObjectStoreParams

NAME = "stores-s3"


def name_remote(root: Path, params: ObjectStoreParams) -> str:
    """Make the bucket the default remote of a repository; git does not see it, and no key is written.

    Args:
        root: of the repository.
        params: section `stores.s3`, with a bucket.

    Returns:
        The remote's name.
    """
    require("stores.s3", "dvc_s3")
    from dvc.config import Config

    # what comes back is compared with its digest: a store may have acknowledged more than it wrote
    wanted: dict[str, Any] = {"url": params.url("dvc"), "region": params.region, "verify": True}
    if params.endpoint:
        wanted["endpointurl"] = params.endpoint
    config = Config(str(root / ".dvc"), validate=False)
    if config.get("core", {}).get("remote") != NAME or config.get("remote", {}).get(NAME) != wanted:
        with config.edit("local") as local:
            local.setdefault("remote", {})[NAME] = wanted
            local.setdefault("core", {})["remote"] = NAME
    return NAME
