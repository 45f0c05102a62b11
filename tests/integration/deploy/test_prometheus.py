"""Debian's Prometheus scrapes a real service: every series arrives, and alerts and dashboards find theirs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cascade.metrics.series import Series
from cascade.process.ready import free_port
from deploy.grafana.dashboards import FOLDER
from tasks.monitoring.series import ALL, PIPELINE
from tasks.monitoring.textfile import write
from tests.support import tiny
from tests.support.prometheus import RULES, alerts, grouped_in, labels_in, names_in, needs_prometheus
from tests.support.service import started
from tests.unit.cascade.inbox.test_inbox import params as inbox_params

pytestmark = [pytest.mark.integration, needs_prometheus]
# one for all: each further one would read the authorities' certificates anew
CLIENT = httpx.Client(trust_env=False, verify=False)  # noqa: S501  # loopback, without TLS
# of a stage or a device that is a GPU
ABSENT = ("streetvision_gpu_device_", "streetvision_gpu_memory_used", "streetvision_gpu_temp", "streetvision_gpu_util")
# of Prometheus itself
OWN = {"up", "ALERTS"}
OWN_LABELS = {"instance", "job", "le", "alertname", "alertstate", "severity"}


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """Prometheus with the committed configuration, but for the address and how often it looks; gives its address."""
    document = yaml.safe_load(RULES.with_name("prometheus.yml").read_text(encoding="utf-8"))
    document["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    document["rule_files"] = [str(RULES)]
    document["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))
    address = f"127.0.0.1:{free_port('127.0.0.1', 19090)}"
    command = ["prometheus", "--config.file", str(folder / "prometheus.yml"), "--web.listen-address", address]
    command += ["--storage.tsdb.path", str(folder / "data"), "--log.level", "error"]
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as child:
        try:
            yield f"http://{address}"
        finally:
            child.kill()


def ask(url: str, path: str, **params: str) -> Any:
    """The `data` of an answer of Prometheus' API."""
    answer = CLIENT.get(f"{url}/api/v1/{path}", params=params).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def wait_for(look: Any, seconds: float = 30) -> Any:
    """What `look` gives once it gives something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if found := look():
                return found
        except (httpx.TransportError, ValueError):
            # not yet there, or still loading: then its answer is no JSON
            pass
        time.sleep(0.2)
    raise AssertionError("nothing within the time")


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Addresses of a service, with a sample of each batch series beside it, and of Prometheus that has scraped it."""
    folder = tmp_path_factory.mktemp("prometheus")
    write(folder / "metrics", "all", {one: {("x",) * len(one.labels): 1.0} for one in PIPELINE})
    release = tiny.write_release(folder)
    port = free_port("127.0.0.1", 18480)
    params = tiny.runtime_params(
        serve={"port": port, "deadline_seconds": 8.5, "metrics_folder": str(folder / "metrics")},
        cache={"folder": str(folder / "cache")},
        inbox=inbox_params(folder / "inbox"),
    )
    url = f"http://127.0.0.1:{port}"
    with (
        started(release, folder / "service.log", url, params.model_dump_json()),
        prometheus(folder, f"127.0.0.1:{port}") as monitor,
    ):
        files = [("files", ("a.png", tiny.encoded(tiny.street(tiny.ORANGE))))]
        assert httpx.post(f"{url}/v1/predict", files=files, trust_env=False).status_code == 200
        answered = 'streetvision_requests_total{outcome="answered"} > 0'
        wait_for(lambda: ask(monitor, "query", query=answered)["result"])
        yield url, monitor


def test_every_series_arrives(scraped: tuple[str, str]) -> None:
    stored = set(ask(scraped[1], "label/__name__/values"))
    wanted = {name for one in ALL for name in one.stored_names if not one.name.startswith(ABSENT)}
    # counted where it happens for the first time
    assert wanted - stored == {"streetvision_stage_skipped_total"}
    # and nothing that is in no table
    ours = {name for name in stored if name.startswith("streetvision_") and not name.endswith("_created")}
    assert ours - {name for one in ALL for name in one.stored_names} == set()


def test_the_text_is_clean(scraped: tuple[str, str]) -> None:
    text = httpx.get(f"{scraped[0]}/metrics", trust_env=False).text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout + done.stderr == ""


def test_prometheus_evaluates_each_alert(scraped: tuple[str, str]) -> None:
    def evaluated() -> list[dict[str, Any]] | None:
        rules = [rule for group in ask(scraped[1], "rules")["groups"] for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else None

    rules = wait_for(evaluated)
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in alerts()}


def test_the_dashboards_are_drawn_from_what_it_stores(scraped: tuple[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.grafana.preview", "--prometheus", scraped[1], "--minutes", "1"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {file.stem for file in tmp_path.glob("*.png")} == {file.stem for file in FOLDER.glob("*.json")}


QUERIES = [(rule["alert"], rule["expr"]) for rule in alerts()] + [
    (f"{file.stem}: {panel['title']}", target["expr"])
    for file in sorted(FOLDER.glob("*.json"))
    for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]
    for target in panel.get("targets", ())
]


@pytest.mark.parametrize(("where", "query"), QUERIES)
def test_queries_name_what_there_is(where: str, query: str) -> None:
    table = {name: one for one in ALL for name in one.stored_names}
    process = {"process_resident_memory_bytes", "process_start_time_seconds"}
    assert names_in(query) - table.keys() - process == set(), where
    for name, label in labels_in(query):
        assert label in {*labels_of(table.get(name)), *OWN_LABELS}, f"{where}: {name} has no label {label}"
    assert grouped_in(query) <= {*OWN_LABELS, *(label for one in ALL for label in one.labels)}, where


def labels_of(series: Series | None) -> tuple[str, ...]:
    return series.labels if series else ()


def test_queries_of_dashboards_are_answered(scraped: tuple[str, str]) -> None:
    for where, query in QUERIES:
        ask(scraped[1], "query", query=query.replace("$__rate_interval", "5m").replace("$__range", "1h")), where
