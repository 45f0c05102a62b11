"""`make stop`: stop what a promotion started: the live service, one that is kept warm, and nginx before them."""

from __future__ import annotations

import sys

from cascade.api.process import STATE, copied, status, stop
from deploy.nginx import front
from flows.server import supervision
from tasks.release.promotion import retire


def main() -> None:
    """Stop the services and nginx, or say that none runs."""
    now = supervision.running()
    if now and "serve" in now.groups:
        sys.exit("`streetvision up` keeps the service running: `streetvision down` ends it, and the rest with it")
    stop_service()


def stop_service() -> None:
    """Stop nginx and the services of this folder, and say what was stopped."""
    service, other = status(), copied()
    retire.keep_all()
    # nginx first: it would answer 503 for services that are gone
    stopped = [front.stop(), stop()]
    if service is not None:
        print(f"stopped the service at {service.url}")
    elif any(stopped):
        print("stopped what was left of a service")
    else:
        print("no service runs")
    if other:
        print(f"{STATE} is a copy: process {other.pid} is the service of {other.folder}; `make stop` there ends it")


if __name__ == "__main__":
    main()
