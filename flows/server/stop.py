"""`make stop`: stop what a promotion started: the live service, one that is kept warm, and nginx before them."""

from __future__ import annotations

from cascade.api.process import STATE, copied, status, stop
from deploy.nginx import front
from tasks.release.promotion import retire


def main() -> None:
    """Stop the services and nginx, or say that none runs."""
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
