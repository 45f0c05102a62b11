"""Section `supervision`: what `streetvision up` keeps running, and when it starts a part anew."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cascade.config.base import Section


class SupervisionParams(Section):
    """Section `supervision`.

    Attributes:
        program: `pm2`, `own` (cascade/process/restarts.py), or `auto`: PM2 where it is installed.
        look_seconds: between two looks at the live service and nginx.
        hang_seconds: without an answer of the live service until it is started anew; 0: never.
        service_margin_gib: RAM beyond `memory.ram_gib` that the live service may take with its workers until it is
            started anew; 0: no limit.
        prefect_gib: the same for Prefect's server.
        mlflow_gib: the same for MLflow's.
        neuron_gib: the same for the miner.
    """

    program: Literal["auto", "pm2", "own"] = "auto"
    look_seconds: float = Field(default=0.5, gt=0)
    hang_seconds: float = Field(default=60, ge=0)
    service_margin_gib: float = Field(default=4, ge=0)
    prefect_gib: float = Field(default=2, ge=0)
    mlflow_gib: float = Field(default=2, ge=0)
    neuron_gib: float = Field(default=1, ge=0)
