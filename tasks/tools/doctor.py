"""`streetvision doctor`: look at versions, machine, data, schedules, service, records and secrets, with a remedy each.

`--miner` looks at what a miner of the subnet needs instead, `--gpu` at what fits the card. An error gives exit code 1.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from cascade.config import ConfigError
from tasks.config import Params, load_params
from tasks.doctor.registry import Context, MinerOptions, checks
from tasks.doctor.run import run_checks
from tasks.doctor.show import counts, document, table

app = typer.Typer()


@app.command("doctor")
def doctor(
    miner: Annotated[bool, typer.Option("--miner", help="Look at what a miner of the subnet needs.")] = False,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Look at what of gpu24 fits the card, with the settings to choose.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    seconds: Annotated[float, typer.Option(help="For all checks together, which run at once.", min=1)] = 10.0,
    hotkey: Annotated[str | None, typer.Option(help="ss58 address; submission.submitted_by by default.")] = None,
    metagraph: Annotated[Path | None, typer.Option(help="Of the subnet, as JSON: docs/mining-the-subnet.md.")] = None,
    network: Annotated[
        str | None, typer.Option(help="Ask the chain by bittensor: finney, test, or an address.")
    ] = None,
    netuid: Annotated[int, typer.Option(help="Of the subnet; 323 on the test network.")] = 72,
    address: Annotated[str | None, typer.Option(help="Of this machine as others see it, behind NAT.")] = None,
    port: Annotated[int | None, typer.Option(help="Of the axon, where the metagraph does not say.")] = None,
) -> None:
    """Look at everything and say what to do about each finding; errors give exit code 1, warnings do not."""
    if miner and gpu:
        print("doctor: --miner and --gpu are two questions; ask them one after the other", file=sys.stderr)
        raise typer.Exit(1)
    begun = time.monotonic()
    options = MinerOptions(hotkey, metagraph, network, netuid, address, port) if miner else None
    context = Context(_params(), begun + seconds, options)
    found = run_checks(checks(miner=miner, gpu=gpu), context)
    taken = time.monotonic() - begun
    if as_json:
        json.dump(document(found, taken), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        from rich.console import Console

        Console().print(table(found))
        print(", ".join(f"{count} {state}" for state, count in counts(found).items() if count), f"({taken:.1f} s)")
    if counts(found)["error"]:
        raise typer.Exit(1)


def _params() -> Params | None:
    try:
        return load_params()
    except ConfigError:
        # the check of params.yaml says so
        return None


if __name__ == "__main__":
    app()
