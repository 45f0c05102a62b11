"""What a promotion or a rollback may end with: each is one line for people, without a traceback."""

from __future__ import annotations

from cascade.api.auth import ServiceError
from cascade.config import ConfigError
from cascade.release.store import ReleaseError
from deploy.nginx.front import FrontError
from tasks.release.gate import GateError
from tasks.release.promotion.doors import RollbackError
from tasks.release.promotion.lock import LockedError
from tasks.release.promotion.preflight import PreflightError
from tasks.release.promotion.watch import WatchError
from tasks.release.smoke_test import SmokeTestError
from tasks.release.tracking import RegisterError

PROMOTION_ERRORS = (
    ConfigError,
    FrontError,
    GateError,
    LockedError,
    PreflightError,
    RegisterError,
    ReleaseError,
    RollbackError,
    ServiceError,
    SmokeTestError,
    WatchError,
)
