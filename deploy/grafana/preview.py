"""Pictures of the dashboards without Grafana: the same JSON, drawn with what a Prometheus answers its queries.

`python -m deploy.grafana.preview --prometheus http://127.0.0.1:9090 --out var/dashboards` writes one PNG a dashboard.
Place, title, unit, limits of the axes and legends are those of the JSON; colours and fonts are not Grafana's. A panel
whose queries give nothing says so, as Grafana does.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from deploy.grafana.dashboards import FOLDER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS, COLUMNS, GAP = 240, 24, 0.25
INCH_X, INCH_Y, DPI = 0.72, 0.36, 80  # of a column, and of a row of Grafana's grid
NO_DATA = "No data"
STEPS = {"bytes": ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))}
SUFFIX = {"s": " s", "d": " d", "reqps": " req/s", "cps": "/s", "celsius": " C", "bytes": " B"}


@dataclass(frozen=True)
class Window:
    """What is looked at: `seconds` up to `end` (UNIX time) of the Prometheus at `url`."""

    url: str
    seconds: float
    end: float

    @property
    def step(self) -> float:
        """Seconds between two points, at least those of four looks of a Prometheus that looks each second."""
        return max(4.0, self.seconds / POINTS)

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series of a query over the window.

        Raises:
            SystemExit: Prometheus refuses the query, or does not answer.
        """
        expression = query.replace("$__rate_interval", f"{self.step * 4:.0f}s")
        times = {"start": f"{self.end - self.seconds}", "end": f"{self.end}", "step": f"{self.step}"}
        where = f"{self.url}/api/v1/query_range"
        try:
            answer = httpx.get(where, params={"query": expression, **times}, trust_env=False, timeout=30).json()
        except (httpx.TransportError, ValueError) as error:
            raise SystemExit(f"error: no Prometheus answers at {self.url}: {error}") from None
        if answer["status"] != "success":
            raise SystemExit(f"error: {expression}: {answer['error']}")
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


def main() -> None:
    """Draw every dashboard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", metavar="URL")
    parser.add_argument("--minutes", type=float, default=60, help="up to now")
    parser.add_argument("--out", type=Path, default=Path("var/dashboards"), metavar="FOLDER")
    options = parser.parse_args()
    window = Window(options.prometheus.rstrip("/"), options.minutes * 60, time.time())
    options.out.mkdir(parents=True, exist_ok=True)
    for file in sorted(FOLDER.glob("*.json")):
        draw_dashboard(json.loads(file.read_text(encoding="utf-8")), window).savefig(options.out / f"{file.stem}.png")
        print(options.out / f"{file.stem}.png")


def draw_dashboard(document: dict[str, Any], window: Window) -> Figure:
    """All panels at their places.

    Args:
        document: a dashboard as Grafana reads it.
        window: what is looked at.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in document["panels"]) + 1
    figure = Figure(figsize=(COLUMNS * INCH_X, rows * INCH_Y), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.text(0.01, 1 - 0.6 / rows, document["title"], fontsize=13, weight="bold", va="center")
    for panel in document["panels"]:
        place = panel["gridPos"]
        top = (place["y"] + 1) / rows
        if panel["type"] == "row":
            figure.text(0.01, 1 - top - 0.5 / rows, panel["title"], fontsize=11, color="#555", va="center")
            continue
        plotted = panel["type"] == "timeseries"
        # room for the numbers at the left and the legend below, which a single value does not need
        left, below = (1.6, 2.2) if plotted else (GAP, 0.0)
        x, width = (place["x"] + left) / COLUMNS, (place["w"] - left - GAP) / COLUMNS
        y, height = 1 - top - (place["h"] - below - GAP) / rows, (place["h"] - below - 1.2) / rows
        axes = figure.add_axes((x, y, width, height))
        axes.set_title(panel["title"], fontsize=9, loc="left")
        lines = list(_lines(panel, window))
        if plotted:
            _graph(axes, panel["fieldConfig"]["defaults"], lines)
        else:
            _number(axes, panel["fieldConfig"]["defaults"], lines, named=panel["options"]["textMode"] == "name")
    return figure


Line = tuple[str, list[float], list[float]]


def _lines(panel: dict[str, Any], window: Window) -> Iterator[Line]:
    """Legend, times in minutes before the end, and values of each series of a panel."""
    for target in panel["targets"]:
        for series in window.ask(target["expr"]):
            times, values = zip(*series["values"], strict=True)
            name = _legend(target.get("legendFormat", ""), series["metric"])
            yield name, [(float(at) - window.end) / 60 for at in times], [float(value) for value in values]


def _legend(pattern: str, labels: dict[str, str]) -> str:
    """A legend with its labels filled in."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), pattern)


def _graph(axes: Axes, defaults: dict[str, Any], lines: list[Line]) -> None:
    unit = defaults.get("unit", "short")
    if not lines:
        axes.text(0.5, 0.5, NO_DATA, ha="center", va="center", transform=axes.transAxes, color="#888")
    stacked = defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal"
    if stacked and lines:
        shared = max((line[1] for line in lines), key=len)
        # a series that began later is zero before
        tops = [[dict(zip(times, values, strict=True)).get(at, 0.0) for at in shared] for _, times, values in lines]
        axes.stackplot(shared, tops, labels=[name for name, _, _ in lines], alpha=0.6)
    else:
        for name, times, values in lines:
            axes.plot(times, values, label=name, linewidth=1.2)
    axes.set_ylim(defaults.get("min"), defaults.get("max"))
    axes.yaxis.set_major_formatter(lambda value, _: show(value, unit))
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if any(name for name, _, _ in lines):
        axes.legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(0, -0.1), ncols=4, frameon=False)


def _number(axes: Axes, defaults: dict[str, Any], lines: list[Line], *, named: bool) -> None:
    """The last value of each line; with `named` its legend alone."""
    axes.set_axis_off()
    told = [(name, values[-1]) for name, _, values in lines]
    for place, (name, value) in enumerate(told or [(NO_DATA, float("nan"))]):
        colour = "#888" if not told else _colour(value, defaults.get("thresholds", {}).get("steps", []))
        text = show(value, defaults.get("unit", "short"), defaults.get("decimals")) if told and not named else ""
        at = ((place + 0.5) / max(1, len(told)), 0.5)
        axes.text(*at, f"{name}\n{text}".strip(), fontsize=10, color=colour, ha="center", va="center")


def _colour(value: float, steps: list[dict[str, Any]]) -> str:
    """Of the last threshold that the value has reached."""
    reached = [step["color"] for step in steps if step.get("value") is None or value >= step["value"]]
    return {"yellow": "#b58900"}.get(reached[-1], reached[-1]) if reached else "black"


def show(value: float, unit: str, decimals: int | None = None) -> str:
    """A value as Grafana writes it, with three digits or so many decimals."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    for size, name in STEPS.get(unit, ()):
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    if unit == "s" and 0 < abs(value) < 1:
        return f"{1000 * value:.3g} ms"
    text = f"{value:.4g}" if decimals is None else f"{value:.{decimals}f}"
    return f"{text}{SUFFIX.get(unit, '')}"


if __name__ == "__main__":
    main()
