"""What `streetvision status` prints: short figures first, then the stages, then the rest. It fits into 80 columns."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cascade.release.manifest import Manifest
from cascade.stages.describe import StageStatus, off_gpu_warning

# figures of the gate that stand first
FIRST = ("prior", "mcc", "accuracy", "reward", "auc", "n")


def status_tables(
    manifest: Manifest | None, stages: list[StageStatus], service: dict[str, Any] | None
) -> list[RenderableType]:
    """The champion with its gate, the service, the champion's stages, and what else its manifest says.

    Args:
        manifest: of the champion; None where there is none.
        stages: of the champion.
        service: what runs, None where nothing does.
    """
    running = _pairs(
        "Service", _running(service) if service else {"status": "not running; `streetvision serve` starts it"}
    )
    if manifest is None:
        return [_pairs("Champion", {"release": "none yet; `make run` trains and promotes one"}), running]
    return [_champion(manifest), running, _stages(stages), _rest(manifest)]


def _running(service: dict[str, Any]) -> dict[str, Any]:
    """The facts of a service; its start, which is noted in seconds after boot, by the clock."""
    import psutil

    if "started" not in service:
        return service
    since = datetime.fromtimestamp(psutil.boot_time() + service["started"]).astimezone()
    return {**service, "started": since.isoformat(" ", "seconds")}


def figure(name: str, value: float) -> str:
    """A figure with three decimals; a count with none."""
    return f"{value:.0f}" if name == "n" else f"{value:.3f}"


def _champion(manifest: Manifest) -> RenderableType:
    exits, gate = manifest.thresholds, manifest.gate
    return _pairs(
        "Champion",
        {
            "release": manifest.id,
            "gate": _listed({name: gate[name] for name in FIRST if name in gate}) or "no figures",
            "exits": f"roadwork from {exits.high:.3f} up, clear from {exits.low:.3f} down",
        },
    )


def _stages(stages: list[StageStatus]) -> RenderableType:
    """One row a stage: on or off, what runs it, and why it is on or off, from the release."""
    table = Table("stage", "", "runs on", "why", box=box.SIMPLE_HEAD, show_edge=False)
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    table.columns[2].max_width = 20
    for stage in stages:
        table.add_row(stage.name, "on" if stage.on else "off", Text(stage.runs_on), Text(stage.why))
    warning = off_gpu_warning(stages)
    return Group("Stages", table, *([Text(f"Warning: {warning}.", style="yellow")] if warning else []))


def _rest(manifest: Manifest) -> RenderableType:
    more = _listed({name: value for name, value in manifest.gate.items() if name not in FIRST})
    revisions = {f"{name} revision": value[:12] for name, value in manifest.revision.items()}
    return _pairs("More", {**({"gate": more} if more else {}), **revisions})


def _listed(figures: dict[str, Any]) -> str:
    numbers = {name: value for name, value in figures.items() if isinstance(value, int | float)}
    return ", ".join(f"{name} {figure(name, value)}" for name, value in numbers.items())


def _pairs(title: str, values: dict[str, Any]) -> RenderableType:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(Text(name), Text(str(value)))
    return Group(title, Padding(table, (0, 0, 0, 1)))
