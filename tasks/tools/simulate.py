"""`streetvision simulate`: the subnet's examination on this machine, of any miner, with what it would earn."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade.extras import require

if TYPE_CHECKING:
    from tasks.subnet.challenge import Challenge
    from tasks.subnet.miners import Miner
    from tasks.subnet.play import Player, Rules
    from tasks.subnet.record import Answers
    from tasks.subnet.report import Report, Subnet

OUT = Path("var/simulate")
JSON_FILE, PLOT_FILE = "simulate.json", "simulate.png"
SEED = 20261122  # of `validate`: its views of the challenge split
app = typer.Typer(no_args_is_help=False, add_completion=False)


@app.command()
def simulate(
    live: Annotated[
        bool, typer.Option("--live", help="The live service; the default where no miner is named.")
    ] = False,
    url: Annotated[list[str] | None, typer.Option(help="A service of ours, as http://127.0.0.1:8080.")] = None,
    key_env: Annotated[str | None, typer.Option(help="The variable that holds the key of the services.")] = None,
    http: Annotated[list[str] | None, typer.Option(help="Takes {image: base64}, gives {prediction: number}.")] = None,
    axon: Annotated[list[str] | None, typer.Option(help="HOST:PORT/HOTKEY; needs the extra subnet.")] = None,
    model: Annotated[list[Path] | None, typer.Option(help="Folder of an image classifier of transformers.")] = None,
    pictures: Annotated[str | None, typer.Option(help="Folder, parquet file, or hub; the sample by default.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Challenges that each miner gets.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of challenges, views and repeats.")] = SEED,
    synthetic: Annotated[
        float, typer.Option(min=0, max=1, help="Share of synthetic pictures, if both are there.")
    ] = 0.5,
    draws: Annotated[int, typer.Option(min=1, help="Random views of a picture and level.")] = 1,
    timeout: Annotated[float, typer.Option(min=0.001, help="s until an answer counts as none.")] = 9.0,
    pace: Annotated[float, typer.Option(min=0, help="s from challenge to challenge; 0: as fast as it goes.")] = 0.0,
    resend: Annotated[bool, typer.Option("--resend", help="Send equal challenges again to every miner.")] = False,
    miners: Annotated[int, typer.Option(min=1, help="Miners in the subnet.")] = 250,
    sample: Annotated[int, typer.Option(min=1, help="Of them are asked a step.")] = 10,
    step_seconds: Annotated[tuple[float, float], typer.Option(help="A step lasts; 60 to 80.")] = (60.0, 80.0),
    repeats: Annotated[int, typer.Option(min=20, help="Repeats of the run, for intervals.")] = 400,
    out: Annotated[Path, typer.Option(help=f"Folder of {JSON_FILE} and {PLOT_FILE}.")] = OUT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Play a validator of the subnet against one miner or several, side by side.

    Challenges, augmentation, rounding, reward and moving average are the subnet's (docs/simulate.md). Nothing that is
    sent to a service of ours is kept by it.
    """
    require("streetvision simulate", "pyarrow", "matplotlib")
    from tasks.subnet.play import Rules
    from tasks.subnet.report import Subnet

    with _errors():
        found = _miners(live, url or [], _key(key_env), http or [], axon or [], model or [])
        challenges, images = _challenges(pictures, steps, seed, synthetic, draws)
        rules = Rules(timeout=timeout, pace=pace, keep=not resend)
        players = asyncio.run(_play(found, challenges, images, rules))
        subnet = Subnet(miners=miners, sample=sample, step_seconds=step_seconds, repeats=repeats, seed=seed)
        report = _report(challenges, players, subnet, timeout, out)
    _print(report, out, as_json=as_json)


def _key(variable: str | None) -> str:
    from cascade.local.remote import key_of

    return key_of(variable)


def _miners(
    live: bool, urls: Sequence[str], key: str, https: Sequence[str], axons: Sequence[str], models: Sequence[Path]
) -> list[Miner]:
    """The miners that are named; without one the live service."""
    from tasks.subnet.axon import AxonMiner, parse_axon
    from tasks.subnet.miners import HttpMiner, ServiceMiner
    from tasks.subnet.model import ModelMiner

    none = not (urls or https or axons or models)
    found: list[Miner] = [ServiceMiner("live service", _live_url(), key)] if live or none else []
    found += [ServiceMiner(f"service {_place(url)}", url, key) for url in urls]
    found += [HttpMiner(f"http {_place(url)}", url) for url in https]
    found += [AxonMiner(f"axon {text.partition('/')[0]}", parse_axon(text)) for text in axons]
    found += [ModelMiner(f"model {folder.name}", folder) for folder in models]
    names = [one.name for one in found]
    for number, one in enumerate(found):
        one.name = f"{one.name} ({number + 1})" if names.count(one.name) > 1 else one.name
    return found


def _place(url: str) -> str:
    return url.partition("://")[2].rstrip("/") or url


def _live_url() -> str:
    from cascade.api.process import status
    from tasks.subnet.miners import MinerError

    if (running := status()) is None:
        raise MinerError("no service runs here; `streetvision serve` starts one, or name a miner: --url, --model, ...")
    return running.url


def _challenges(
    given: str | None, steps: int, seed: int, synthetic: float, draws: int
) -> tuple[list[Challenge], dict[str, str]]:
    from tasks.subnet.challenge import draw_challenges, make_images
    from tasks.subnet.pictures import list_pictures, picture_path

    path = picture_path(given)
    challenges = draw_challenges(list_pictures(path), steps=steps, seed=seed, synthetic=synthetic, draws=draws)
    return challenges, make_images(path, challenges, seed=seed)


async def _play(
    miners: Sequence[Miner], challenges: Sequence[Challenge], images: dict[str, str], rules: Rules
) -> list[Player]:
    from tasks.subnet.play import play

    async with AsyncExitStack() as stack:
        for miner in miners:
            await stack.enter_async_context(miner)
        with _following(len(challenges)) as show:
            return await play(miners, challenges, images, rules, show)


@contextmanager
def _following(steps: int) -> Iterator[Callable[[Sequence[Player]], None]]:
    """A table on standard error that follows the run; nothing where that is no terminal."""
    from rich.console import Console
    from rich.live import Live

    from tasks.subnet.show import live_table

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with Live(console=console, refresh_per_second=4, transient=True) as view:
        yield lambda players: view.update(live_table(players, steps))


def _report(
    challenges: Sequence[Challenge], players: Sequence[Player], subnet: Subnet, timeout: float, out: Path
) -> Report:
    from tasks.common.files import write_json
    from tasks.subnet.plot import draw_run
    from tasks.subnet.record import answers_of, asked_of
    from tasks.subnet.report import make_report

    answers: list[Answers] = [answers_of(player) for player in players]
    report = make_report(asked_of(challenges), answers, subnet)
    write_json(out / JSON_FILE, report.document)
    draw_run(report, answers, subnet, timeout, out / PLOT_FILE)
    return report


def _print(report: Report, out: Path, *, as_json: bool) -> None:
    from rich.console import Console

    from tasks.subnet.show import report_lines, report_tables

    if as_json:
        json.dump(report.document, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    Console().print(*report_tables(report), sep="\n")
    print(*report_lines(report), f"{out / JSON_FILE}, {out / PLOT_FILE}", sep="\n")


@contextmanager
def _errors() -> Iterator[None]:
    """Turn errors of use into one line on standard error and exit code 1."""
    from cascade.extras import MissingExtraError
    from cascade.local.files import InputError
    from tasks.common.hub import HubError
    from tasks.config import ConfigError
    from tasks.data.schema import DataError
    from tasks.subnet.miners import MinerError

    try:
        yield
    except (ConfigError, DataError, HubError, InputError, MinerError, MissingExtraError, OSError) as error:
        print(f"simulate: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
