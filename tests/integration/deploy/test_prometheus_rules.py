"""Each alert fires on what it is for, and stays quiet beside it: `promtool test rules` on one table of cases."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.prometheus import RULES, alerts, needs_prometheus

pytestmark = [pytest.mark.integration, needs_prometheus]
DAY = 86400
Series = Mapping[str, str]
AT = '{instance="a"}'
UP = 'up{job="streetvision",instance="a"}'
SUCCESS = 'streetvision_flow_last_success_timestamp_seconds{instance="a",flow="mine-daily"}'
FAILURE = 'streetvision_flow_last_failure_timestamp_seconds{instance="a",flow="mine-daily"}'
FIRST_LIVE = f"streetvision_champion_first_live_timestamp_seconds{AT}"
CHAMPION = 'streetvision_champion_info{instance="a",release="r2"}'
ACCURACY = 'streetvision_labelled_accuracy_ratio{instance="a",share="control"}'
BUCKET = 'streetvision_request_duration_seconds_bucket{instance="a",le="%s"}'
GPU = '{instance="a",device="0"}'
LONG = 300


def requests(outcome: str, a_minute: int) -> Series:
    return {f'streetvision_requests_total{{instance="a",outcome="{outcome}"}}': f"0+{a_minute}x60"}


def model(release: str) -> Series:
    return {f'streetvision_model_info{{instance="a",release="{release}",stage="classifier"}}': "1x60"}


def exits(before: tuple[int, int], now: tuple[int, int]) -> Series:
    """Images a minute that classifier and vlm decide, for 1000 minutes and after them."""
    rows = zip(("classifier", "vlm"), before, now, strict=True)
    return {
        f'streetvision_cascade_exit_total{{instance="a",stage="{stage}",label="clear"}}': (
            f"0+{old}x1000 {old * 1000}+{new}x1000"
        )
        for stage, old, new in rows
    }


def cache(hits: str, misses: str, available: int = 1) -> Series:
    return {
        f"streetvision_cache_hits_total{AT}": hits,
        f"streetvision_cache_misses_total{AT}": misses,
        f"streetvision_cache_available{AT}": f"{available}x2880",
    }


def buckets(slow: int) -> Series:
    """100 requests a minute, of which so many take 5 to 9 s; the deadline is 6 s."""
    counts = {"1.0": 100 - slow, "5.0": 100 - slow, "9.0": 100, "+Inf": 100}
    return {BUCKET % edge: f"0+{count}x60" for edge, count in counts.items()} | {
        f"streetvision_request_deadline_seconds{AT}": "6x60"
    }


def constant(**values: float) -> Series:
    return {f"streetvision_{name}{AT}": f"{value:g}x100" for name, value in values.items()}


def skipped(cause: str, a_minute: int) -> Series:
    name = f'streetvision_stage_skipped_total{{instance="a",stage="vlm",cause="{cause}"}}'
    return {
        name: f"0+{a_minute}x100",
        'streetvision_cascade_exit_total{instance="a",stage="ocr",label="clear"}': "0+100x100",
    }


def gpu(used: int) -> Series:
    values = {"used_bytes": used, "size_bytes": 100}
    return {f"streetvision_gpu_device_memory_{name}{GPU}": f"{value}x60" for name, value in values.items()}


ONE_DAY_QUIET = "0+1x1440 1440+0x1440"
# alert, minute, series on which it fires, series on which it does not
CASES: list[tuple[str, int, Series, Series]] = [
    ("StreetVisionDown", 2, {UP: "0x10"}, {UP: "1x10"}),
    ("StreetVisionNotReady", 6, constant(ready=0), constant(ready=1)),
    # 10 % of the requests fail by our fault; in the quiet case clients send damaged pictures
    ("StreetVisionErrors", 20, {**requests("answered", 90), **requests("internal", 10)},
     {**requests("answered", 90), **requests("bad_image", 10)}),
    # 2 % of the requests near the deadline against 0.5 %
    ("StreetVisionSlow", 30, buckets(2), buckets(0)),
    ("StreetVisionHostMemory", 20, constant(host_memory_used_bytes=7.9e9, host_memory_limit_bytes=8e9),
     constant(host_memory_used_bytes=4e9, host_memory_limit_bytes=8e9, host_memory_available_bytes=2e9)),
    # all stages fit, and the machine has nothing left all the same
    ("StreetVisionHostMemory", 20, constant(host_memory_available_bytes=5e8), {}),
    ("StreetVisionGpuMemory", 20, gpu(98), gpu(90)),
    ("StreetVisionGpuGone", 110, {f"streetvision_gpu_temperature_celsius{GPU}": "50x90"},
     {f"streetvision_gpu_temperature_celsius{GPU}": "50x200"}),
    ("StreetVisionStageOffGpu", 10, {'streetvision_stage_off_gpu{instance="a",stage="ocr"}': "1x60"},
     {'streetvision_stage_off_gpu{instance="a",stage="ocr"}': "0x60"}),
    # half of the images came from the cache yesterday, none today
    ("StreetVisionCacheCold", 2010, cache(ONE_DAY_QUIET, "0+1x2880"), cache("0+1x2880", "0+1x2880")),
    # the cache cannot be used; beside it: never many hits, which is no fault
    ("StreetVisionCacheCold", 2010, cache("0+1x2880", "0+1x2880", 0), cache("0+0x2880", "0+1x2880")),
    # the vlm decides half of the images in place of a tenth
    ("StreetVisionStageShareShift", 1110, exits((9, 1), (5, 5)), exits((9, 1), (9, 1))),
    ("StreetVisionStageSkipped", 60, skipped("timeout", 10), skipped("off", 100)),
    ("StreetVisionTextfileDamaged", 20, constant(textfile_unreadable_files=1), constant(textfile_unreadable_files=0)),
    # promtool's clock starts at 0: a last success at 0, and one an hour ago
    ("StreetVisionMiningOverdue", 37 * 60, {SUCCESS: "0x3000"}, {SUCCESS: f"{36 * 3600}x3000"}),
    ("StreetVisionMiningNever", 49 * 60, {CHAMPION: "1x3000"}, {CHAMPION: "1x3000", SUCCESS: "0x3000"}),
    ("StreetVisionFlowFailed", 5, {SUCCESS: "100x10", FAILURE: "200x10"}, {SUCCESS: "300x10", FAILURE: "200x10"}),
    ("StreetVisionFlowFailed", 5, {FAILURE: "200x10"}, {}),
    ("StreetVisionModelOld", 5, {FIRST_LIVE: f"{-76 * DAY}x10"}, {FIRST_LIVE: f"{-74 * DAY}x10"}),
    ("StreetVisionModelVeryOld", 5, {FIRST_LIVE: f"{-86 * DAY}x10"}, {FIRST_LIVE: f"{-84 * DAY}x10"}),
    ("StreetVisionRetrainOverdue", 5, constant(retrain_deadline_timestamp_seconds=60),
     constant(retrain_deadline_timestamp_seconds=9000)),
    ("StreetVisionWrongRelease", 20, {CHAMPION: "1x60", **model("r1")}, {CHAMPION: "1x60", **model("r2")}),
    ("StreetVisionGateRefused", 5, constant(gate_passed=0), constant(gate_passed=1)),
    ("StreetVisionDrift", 5, constant(drift_detected=1), constant(drift_detected=0)),
    # 3 of 10 pictures prove little
    ("StreetVisionShadowDisagreement", 5, constant(shadow_disagreement_pictures=30, shadow_compared_pictures=100),
     constant(shadow_disagreement_pictures=3, shadow_compared_pictures=10)),
    ("StreetVisionAccuracyLow", 5, {ACCURACY: "0.7x10"}, {ACCURACY: "0.9x10"}),
]  # fmt: skip


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def test_rules_and_configuration_are_sound() -> None:
    for kind, file in (("rules", RULES), ("config", RULES.with_name("prometheus.yml"))):
        done = promtool("check", kind, str(file))
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case_and_a_runbook() -> None:
    assert {case[0] for case in CASES} == {rule["alert"] for rule in alerts()}
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    for rule in alerts():
        name = rule["alert"]
        assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{name.lower()}"
        assert f"### {name}\n" in page


def promtool_case(alert: str, minute: int, loud: Series, quiet: Series) -> dict[str, Any]:
    """A case as promtool takes it: the alert fires for the instance `a`, and not for `b`."""
    beside = {name.replace('instance="a"', 'instance="b"'): values for name, values in quiet.items()}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in {**loud, **beside}.items()],
        "promql_expr_test": [expected(alert, minute, "a", fires=True), expected(alert, minute, "b", fires=False)],
    }


def expected(alert: str, minute: int, instance: str, *, fires: bool) -> dict[str, Any]:
    """1 where an alert fires for an instance, be it for one stage or for several."""
    firing = f'ALERTS{{alertname="{alert}",alertstate="firing",instance="{instance}"}} == 1'
    samples = [{"labels": "{}", "value": int(fires)}]
    return {
        "expr": f"clamp_max(count({firing}), 1) or vector(0)",
        "eval_time": f"{minute}m",
        "exp_samples": samples,
    }


def test_alerts_fire_on_what_they_are_for(tmp_path: Path) -> None:
    """Cases of many hours are evaluated every half hour, and so looked at on the half hour; the others every minute."""
    tests: dict[str, list[dict[str, Any]]] = {"1m": [], "30m": []}
    for alert, minute, loud, quiet in CASES:
        tests["30m" if minute > LONG else "1m"].append(promtool_case(alert, minute, loud, quiet))
    for step, several in tests.items():
        document = {"rule_files": [str(RULES)], "evaluation_interval": step, "tests": several}
        (tmp_path / f"{step}.yml").write_text(yaml.safe_dump(document))
    done = promtool("test", "rules", *(str(tmp_path / f"{step}.yml") for step in tests))
    assert done.returncode == 0, done.stdout + done.stderr
