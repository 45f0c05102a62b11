"""`streetvision down`: end all that `streetvision up` and promotions started in this folder."""

from __future__ import annotations

import typer

from flows.server import supervision
from flows.server.stop import stop_service
from flows.server.up import up_lock
from tasks.config import load_params
from tasks.release.promotion.lock import release_lock
from tasks.tools.promote import errors

app = typer.Typer()


@app.command("down")
def down() -> None:
    """Stop Prefect, MLflow, nginx and the services; waits for a promotion that is about to change them."""
    with errors("down", RuntimeError), up_lock():
        # first the supervisor: it would start again what is stopped here
        found = supervision.stop()
        print("stopped the supervisor and its parts" if found else "no supervisor runs")
        with release_lock("streetvision down", print, load_params().promotion.lock_seconds):
            stop_service()


if __name__ == "__main__":
    app()
