"""Section `promotion`: how a release takes the place of another, and nginx before the service."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from cascade.config.base import Section, Share


class NginxParams(Section):
    """Section `promotion.nginx`; it listens on `serve.host` and `serve.port`.

    Attributes:
        workers: processes; auto: one a processor.
        upstream_seconds: that the service may take for an answer.
        client_seconds: between two reads from, or writes to, a client.
        client_keep_alive_seconds: how long an idle connection of a client stays; see docs/promotion.md.
        drain_seconds: after a reload until requests that still run are cut off.
        rate_per_second: requests an API key, and an address where there is no key; 0: no limit.
        rate_burst: requests beyond it that are let through at once.
        certificate: PEM file for TLS; null: plain HTTP.
        certificate_key: its private key.
        status_page: `/nginx_status` for this machine.
    """

    workers: int | Literal["auto"] = "auto"
    upstream_seconds: int = Field(default=60, ge=1)
    client_seconds: int = Field(default=15, ge=1)
    client_keep_alive_seconds: int = Field(default=0, ge=0)
    drain_seconds: int = Field(default=60, ge=1)
    rate_per_second: int = Field(default=0, ge=0)
    rate_burst: int = Field(default=20, ge=1)
    certificate: Path | None = None
    certificate_key: Path | None = None
    status_page: bool = False

    @model_validator(mode="after")
    def _key_of_the_certificate(self) -> NginxParams:
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("certificate and certificate_key: give both, or neither")
        return self


class CanaryParams(Section):
    """Section `promotion.canary`: a share of the requests goes to the new release first; needs nginx.

    Attributes:
        steps: percent of the requests, one step after the other; empty: no canary.
        seconds: a step.
        max_latency_ratio: 95th percentile of the new release over that of the old one in a step.
    """

    steps: tuple[int, ...] = ()
    seconds: float = Field(default=30, gt=0)
    max_latency_ratio: float = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _shares_grow(self) -> CanaryParams:
        if list(self.steps) != sorted(set(self.steps)) or any(not 1 <= one <= 100 for one in self.steps):
            raise ValueError("steps: percent from 1 to 100, each larger than the one before")
        return self


class WatchParams(Section):
    """Section `promotion.watch`: how the new release is looked at while the old one can still take over.

    Attributes:
        golden: challenge images that are sent to it, again and again.
        seconds: after the switch.
        min_requests: fewer prove nothing, and the old release takes over.
        max_error_rate: share of requests that ended with a 5xx or without an answer.
        max_p95_seconds: 95th percentile of the time for an answer.
        min_agreement: share of pictures that both releases give the same label.
    """

    golden: int = Field(default=8, ge=1)
    seconds: float = Field(default=3, gt=0)
    min_requests: int = Field(default=3, ge=1)
    max_error_rate: Share = Field(default=0, ge=0, lt=1)
    max_p95_seconds: float = Field(default=6, gt=0)
    min_agreement: Share = Field(default=0.5, ge=0, le=1)


class ApprovalParams(Section):
    """Section `promotion.approval`: whether a person decides on what the pipeline made.

    Attributes:
        required: a retrain asks for a decision and leaves the live release; a promotion by hand is one already.
        hours: that the form stays open; afterwards the release can be promoted by hand.
    """

    required: bool = False
    hours: float = Field(default=24, gt=0)


class PromotionParams(Section):
    """Section `promotion`: the transaction that puts a release into the place of another.

    Attributes:
        front: `nginx`, `none` (the service listens itself), or `auto`: nginx where it is installed.
        lock_seconds: that a promotion waits for another one.
        min_free_gib: on the disks of `var` and of the releases; less and nothing is begun.
        memory_margin: the old service's memory times this must be free for a second one beside it.
        keep_blue_seconds: that the old service stays after the switch, for a rollback within a second.
        shadow_seconds: that the new release gets a copy of each request, before it answers any; 0: none; needs nginx.
    """

    front: Literal["auto", "nginx", "none"] = "auto"
    lock_seconds: float = Field(default=3600, gt=0)
    min_free_gib: float = Field(default=1, ge=0)
    memory_margin: float = Field(default=1.2, ge=1)
    keep_blue_seconds: float = Field(default=300, ge=0)
    shadow_seconds: float = Field(default=0, ge=0)
    approval: ApprovalParams = ApprovalParams()
    canary: CanaryParams = CanaryParams()
    watch: WatchParams = WatchParams()
    nginx: NginxParams = NginxParams()
