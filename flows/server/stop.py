"""`make stop`: stop the service that a promotion started."""

from __future__ import annotations

from cascade.api.process import STATE, copied, status, stop


def main() -> None:
    """Stop the service, or say that none runs."""
    service = status()
    if service is None:
        print("no service runs")
        if other := copied():
            print(f"{STATE} is a copy: process {other.pid} is the service of {other.folder}; `make stop` there ends it")
        return
    stop()
    print(f"stopped the service at {service.url}")


if __name__ == "__main__":
    main()
