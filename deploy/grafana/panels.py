"""Panels in one style, of Grafana's Foundation SDK: what differs is the title, the unit and the queries."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef, Threshold, ThresholdsMode

# chosen at the top of each dashboard, so that the same files serve another Prometheus
SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
# of 24 columns
WIDE, HALF, THIRD, SIXTH = 24, 12, 8, 4
Query = tuple[str, str]  # PromQL, and the legend


def graph(
    title: str,
    unit: str,
    *queries: Query,
    span: int = THIRD,
    text: str = "",
    stacked: bool = False,
    least: float | None = 0,
    most: float | None = None,
) -> timeseries.Panel:
    """Lines over time.

    Args:
        title: of the panel.
        unit: an id of Grafana, as s, bytes, percentunit, reqps, short.
        queries: one or more lines.
        span: columns.
        text: what the figure means, or what to do about it.
        stacked: shares of a whole.
        least: lower end of the axis; None: that of the values.
        most: upper end.
    """
    legend = common.VizLegendOptions().display_mode(shapes.LegendDisplayMode.LIST).show_legend(True)
    legend = legend.placement(shapes.LegendPlacement.BOTTOM)
    panel = timeseries.Panel().title(title).unit(unit).span(span).height(8).datasource(SOURCE).legend(legend)
    if text:
        panel = panel.description(text)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL)).fill_opacity(30)
    if least is not None:
        panel = panel.min(least)
    if most is not None:
        panel = panel.max(most)
    for target in _targets(queries, instant=False):
        panel = panel.with_target(target)
    return panel


def number(
    title: str,
    unit: str,
    *queries: Query,
    steps: Sequence[tuple[float, str]] = (),
    span: int = SIXTH,
    text: str = "",
    named: bool = False,
) -> stat.Panel:
    """The newest value of each query, large.

    Args:
        title: of the panel.
        unit: an id of Grafana.
        queries: one or more values.
        steps: from which value on which colour; green below the first.
        span: columns.
        text: what the figure means.
        named: the series are always 1, and only their legends are shown.
    """
    colours = [Threshold(value=None, color="green"), *(Threshold(value=value, color=colour) for value, colour in steps)]
    limits = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(colours)
    panel = stat.Panel().title(title).unit(unit).span(span).height(4).datasource(SOURCE).thresholds(limits)
    panel = panel.color_mode(shapes.BigValueColorMode.VALUE).graph_mode(shapes.BigValueGraphMode.NONE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    modes = shapes.BigValueTextMode
    both = modes.VALUE_AND_NAME if any(legend for _, legend in queries) else modes.VALUE
    panel = panel.text_mode(modes.NAME if named else both)
    if unit == "d":
        panel = panel.decimals(1)
    if text:
        panel = panel.description(text)
    for target in _targets(queries, instant=True):
        panel = panel.with_target(target)
    return panel


def _targets(queries: Sequence[Query], *, instant: bool) -> Sequence[prometheus.Dataquery]:
    """The queries with the letters that Grafana calls them by."""
    letters = (chr(ord("A") + number) for number in range(len(queries)))
    targets = []
    for letter, (expression, legend) in zip(letters, queries, strict=True):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(letter)
        targets.append(query.instant() if instant else query.range())
    return targets


def page(uid: str, title: str, text: str) -> dashboard.Dashboard:
    """An empty dashboard with the choice of Prometheus, and links to the others.

    Args:
        uid: fixed, so that links and bookmarks outlive provisioning.
        title: in the list of dashboards.
        text: what it is for.
    """
    source = dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus")
    others = dashboard.DashboardLink("StreetVision").tags(["streetvision"]).type(DashboardLinkType.DASHBOARDS)
    others = others.as_dropdown(False).keep_time(True)
    made = dashboard.Dashboard(title).uid(uid).description(text).tags(["streetvision"]).timezone("browser")
    return made.time("now-24h", "now").refresh("1m").readonly().with_variable(source).link(others)
