"""`streetvision rollback`: go back to the release that was live before, within seconds while its service is warm."""

from __future__ import annotations

from typing import Annotated

import typer

from cascade.extras import require
from tasks.common.user import user_name
from tasks.config import load_params
from tasks.monitoring.runs import recorded
from tasks.release.promotion.doors import Request, door, rollback_release
from tasks.release.promotion.plan import plan_rollback
from tasks.tools.promote import errors

app = typer.Typer()


@app.command("rollback")
def rollback(
    release: Annotated[
        str | None, typer.Argument(help="A release that was live; by default the one that was replaced last.")
    ] = None,
    why: Annotated[str, typer.Option(help="The reason, for the ledger.")] = "rollback by hand",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
) -> None:
    """Put a release that was live before into its place again; the gate does not apply."""
    require("streetvision rollback", "mlflow", "pyarrow")
    with errors("rollback"):
        params = load_params()
        if dry_run:
            print("\n".join(plan_rollback(params, release)))
            return
        who = f"rollback by {user_name()}"
        with recorded("rollback", params, print), door(params, who, print, strict=False) as front:
            service = rollback_release(params, front, release, Request(why), print)
        print(f"release {service.release} is live and answers at {service.url}")


if __name__ == "__main__":
    app()
