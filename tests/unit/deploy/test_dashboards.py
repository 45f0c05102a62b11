"""The committed dashboards are what the code makes, and show what people look for."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest
import yaml

from deploy.grafana.dashboards import DASHBOARDS, FOLDER, as_json
from tasks.monitoring.series import ALL
from tests.support.paths import ROOT
from tests.support.prometheus import alerts, names_in

NAMES = ("overview", "cascade", "quality", "pipeline")
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"


def read(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def queries(name: str) -> list[str]:
    return [target["expr"] for panel in read(name)["panels"] for target in panel.get("targets", ())]


def test_the_files_are_what_the_code_makes() -> None:
    """`python -m deploy.grafana.dashboards` brings them up to date."""
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(NAMES)
    for make in DASHBOARDS:
        assert (FOLDER / f"{make.__name__}.json").read_text(encoding="utf-8") == as_json(make())


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_sound(name: str) -> None:
    document = read(name)
    assert document["uid"] == f"streetvision-{name}"
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    titles = [panel["title"] for panel in document["panels"] if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)
    for one, other in combinations([panel["gridPos"] for panel in document["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
        assert one["x"] + one["w"] <= 24
    for panel in document["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
            assert [one["refId"] for one in panel["targets"]] == sorted({one["refId"] for one in panel["targets"]})


@pytest.mark.parametrize(
    ("what", "name", "series"),
    [
        ("age of the model", "overview", "streetvision_champion_first_live_timestamp_seconds"),
        ("deadline", "overview", "streetvision_retrain_deadline_timestamp_seconds"),
        ("GPU memory", "cascade", "streetvision_gpu_device_memory_used_bytes"),
        ("GPU memory of a stage", "cascade", "streetvision_gpu_memory_used_bytes"),
        ("temperature", "cascade", "streetvision_gpu_temperature_celsius"),
        ("time of a stage", "cascade", "streetvision_stage_duration_seconds_bucket"),
        ("time of an answer", "overview", "streetvision_request_duration_seconds_bucket"),
        ("queries a second, and errors", "overview", "streetvision_requests_total"),
        ("cache hits", "overview", "streetvision_cache_hits_total"),
        ("accuracy", "overview", "streetvision_labelled_accuracy_ratio"),
        ("exit shares, and results", "overview", "streetvision_cascade_exit_total"),
    ],
)
def test_what_operators_ask_for_is_there(what: str, name: str, series: str) -> None:
    assert any(series in names_in(query) for query in queries(name)), what


@pytest.mark.parametrize("quantile", ["0.5", "0.95", "0.99"])
@pytest.mark.parametrize(("name", "by"), [("cascade", "stage, le"), ("overview", "le")])
def test_quantiles_are_shown_for_stages_and_answers(name: str, by: str, quantile: str) -> None:
    assert any(query.startswith(f"histogram_quantile({quantile}, sum by ({by}) ") for query in queries(name))


def test_each_series_is_shown_or_watched() -> None:
    everything = [query for name in NAMES for query in queries(name)] + [rule["expr"] for rule in alerts()]
    used = {name for query in everything for name in names_in(query)}
    unused = {one.name for one in ALL if not set(one.stored_names) & used}
    assert unused == {
        "streetvision_build_info",  # for joins by hand
        "streetvision_gate_timestamp_seconds",
    }


def test_provisioning_names_the_source_and_the_folder() -> None:
    source = yaml.safe_load((PROVISIONING / "datasources" / "streetvision.yaml").read_text(encoding="utf-8"))
    assert [one["uid"] for one in source["datasources"]] == ["streetvision-prometheus"]
    interval = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    assert source["datasources"][0]["jsonData"]["timeInterval"] == interval["global"]["scrape_interval"]
    files = yaml.safe_load((PROVISIONING / "dashboards" / "streetvision.yaml").read_text(encoding="utf-8"))
    assert files["providers"][0]["options"]["path"] == "$STREETVISION_DASHBOARDS"
