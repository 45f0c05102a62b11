"""`streetvision neuron`: answer the subnet's validators, as a client of the local service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cascade.config import ConfigError
from cascade.config.neuron import NeuronParams, load_neuron_params
from cascade.extras import require

app = typer.Typer()


@app.command("neuron")
def neuron(
    service: Annotated[str | None, typer.Option(help="Address of the service, instead of neuron.service.")] = None,
    host: Annotated[str | None, typer.Option(help="To listen on, instead of neuron.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Of the axon, instead of neuron.port.")] = None,
    metagraph: Annotated[
        Path | None, typer.Option(help="A JSON file in place of the chain; then nothing is published.")
    ] = None,
) -> None:
    """Run the miner in the foreground until Ctrl-C or SIGTERM; section `neuron` of params.yaml has its settings."""
    require("streetvision neuron", "bittensor")
    given = {"service": service, "host": host, "port": port, "metagraph": metagraph}
    try:
        params = _with(load_neuron_params(), {key: value for key, value in given.items() if value is not None})
        _start(params)
    except (ConfigError, OSError, RuntimeError, ValueError) as error:
        print(f"neuron: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _with(params: NeuronParams, given: dict[str, Any]) -> NeuronParams:
    return NeuronParams.model_validate({**params.model_dump(), **given})


def _start(params: NeuronParams) -> None:
    from cascade.neuron.serve import start

    start(params)


if __name__ == "__main__":
    app()
