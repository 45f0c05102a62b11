"""Section `serve`: the HTTP service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cascade.config.base import Section


class ServeParams(Section):
    """Section `serve`: the HTTP service.

    Attributes:
        key_file: YAML file of API keys; see `cascade.api.auth`.
        quota: SQLite file with the requests of each key and day.
        decoders: processes that decode pictures; `auto`: 2 to 4, by the memory that is free at the start.
        stages: `light` runs the classifier and the detectors alone.
        page: whether `/` is a page for people.
        gate_reports: folder with the gate's report of each release; None, as in `ledger`: there is none.
        ledger: of promotions.
        metrics_folder: series that batch runs leave, which `/metrics` adds; None: none.
    """

    host: str
    port: int = Field(ge=0, le=65535)
    max_images: int = Field(ge=1)
    max_bytes: int = Field(ge=1)
    max_request_bytes: int = Field(default=64_000_000, ge=1)
    max_in_flight_bytes: int = Field(default=200_000_000, ge=1)
    max_requests: int = Field(default=64, ge=1)
    max_pixels: int = Field(default=50_000_000, gt=0)
    min_side: int = Field(default=32, gt=0)
    deadline_seconds: float = Field(gt=0, lt=9)
    drain_seconds: float = Field(default=0.5, ge=0, le=60)
    decoders: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = "auto"
    stages: Literal["all", "light"] = "all"
    key_file: Path | None = None
    quota: Path = Path("var/quota.sqlite")
    log: Literal["json", "text"] = "json"
    page: bool = True
    gate_reports: Path | None = Path("var/gate/reports")
    ledger: Path | None = Path("var/ledger.jsonl")
    metrics_folder: Path | None = Path("var/metrics")
