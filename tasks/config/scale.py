"""Section `scale`: where work over many pictures runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cascade.config.base import PARAMS_FILE, Section, read_sections, validated


class SelectionParams(Section):
    """How mining selects from more pictures than fit in memory: docs/mining.md.

    Attributes:
        shard_rows: candidates that are weighed against each other at once; a larger shortlist is cut into shards of
            which each hands on its centres. None: a shortlist is never cut, which is exact.
        shard_centres: that a shard hands on, times the budget.
        near_duplicates: compare: all candidates with all that is labelled; index: by FAISS, which the extra `index`
            brings. Held-out pictures are compared by their embeddings in both cases.
        probes: lists of the index that are read for each candidate; more find more, and take longer.
        vectors: where the candidates' embeddings are kept during a run.
    """

    shard_rows: int | None = Field(default=None, ge=1)
    shard_centres: float = Field(default=1.0, gt=0)
    near_duplicates: Literal["compare", "index"] = "compare"
    probes: int = Field(default=8, ge=1)
    vectors: Literal["memory", "disk"] = "memory"


class ScaleParams(Section):
    """Section `scale`: docs/batch.md.

    Attributes:
        engine: local: this process; ray: a Ray cluster, which the extra `ray` brings.
        shard_pictures: pictures of a shard that batch prediction writes, which is what a kill can cost: of a parquet
            file at most so many, of a folder so many on average.
        address: of the cluster, `host:6379` or `auto`; None: one on this machine, for the time of the run.
        actors: processes with a model each; auto: as many as the cluster has room for.
        cpus: processors that Ray reserves for each of them.
        gpus: graphics cards for each; a part of one is allowed.
        selection: of mining, from more pictures than fit in memory.
    """

    engine: Literal["local", "ray"] = "local"
    shard_pictures: int = Field(default=256, ge=1)
    address: str | None = None
    actors: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    cpus: float = Field(default=1, gt=0)
    gpus: float = Field(default=0, ge=0)
    selection: SelectionParams = SelectionParams()


class _File(Section):
    scale: ScaleParams = ScaleParams()


def load_scale_params(path: Path = PARAMS_FILE) -> ScaleParams:
    """Read and check this section alone; what others hold keeps no prediction from starting.

    Raises:
        ConfigError: names the file and each key that is unknown or out of range.
    """
    document = {name: section for name, section in read_sections(path).items() if name == "scale"}
    return validated(_File, document, path).scale
