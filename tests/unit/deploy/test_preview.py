"""Pictures of the dashboards: values as Grafana writes them, and panels that tell what they lack."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.grafana import preview
from deploy.grafana.dashboards import FOLDER

WINDOW = preview.Window("http://127.0.0.1:9", 3600, 7200)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.1234, "percentunit", "12.3 %"),
        (0.0041, "s", "4.1 ms"),  # below a second
        (2.5, "s", "2.5 s"),
        (0.0, "s", "0 s"),
        (3 << 30, "bytes", "3 GiB"),
        (12.0, "bytes", "12 B"),
        (1.5, "reqps", "1.5 req/s"),
        (71.0, "d", "71 d"),
        (-1.0, "short", "-1"),
        (float("nan"), "short", "nan"),  # no traffic: 0 of 0
    ],
)
def test_a_value_is_written_with_its_unit(value: float, unit: str, text: str) -> None:
    assert preview.show(value, unit) == text


@pytest.mark.parametrize(
    ("value", "colour"),
    [(0.0, "green"), (45.0, "#b58900"), (80.0, "orange"), (90.0, "red")],  # the newest threshold that is reached
)
def test_a_value_has_the_colour_of_its_threshold(value: float, colour: str) -> None:
    steps = [("green", None), ("yellow", 45), ("orange", 75), ("red", 85)]
    assert preview._colour(value, [{"color": name, "value": limit} for name, limit in steps]) == colour


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
@pytest.mark.parametrize("filled", [True, False])
def test_every_panel_is_drawn(monkeypatch: pytest.MonkeyPatch, file: Any, filled: bool) -> None:
    labels = {"stage": "vlm", "outcome": "answered", "release": "abc"}
    # the second series began later
    series = [{"metric": labels, "values": [[7100, "1"], [7200, "2"]]}, {"metric": {}, "values": [[7200, "3"]]}]
    monkeypatch.setattr(preview.Window, "ask", lambda *_: series if filled else [])
    document = json.loads(file.read_text(encoding="utf-8"))
    figure = preview.draw_dashboard(document, WINDOW)
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == [panel["title"] for panel in panels]
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts.count(preview.NO_DATA) == (0 if filled else len(panels))


def test_an_absent_prometheus_is_one_sentence() -> None:
    with pytest.raises(SystemExit, match=r"error: no Prometheus answers at http://127\.0\.0\.1:9"):
        WINDOW.ask("up")
