"""The dashboards: `python -m deploy.grafana.dashboards` writes them as JSON, which Grafana reads from the folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.panels import HALF, THIRD, WIDE, graph, number, page

FOLDER = Path(__file__).parent / "dashboards"
RATE = "[$__rate_interval]"
EXITS = "streetvision_cascade_exit_total"
REQUEST_BUCKET = "streetvision_request_duration_seconds_bucket"
STAGE_BUCKET = "streetvision_stage_duration_seconds_bucket"
HITS, MISSES = "streetvision_cache_hits_total", "streetvision_cache_misses_total"
FAULTS = 'outcome=~"internal|deadline|no_answer|busy|not_ready"'
FIRST_LIVE = "streetvision_champion_first_live_timestamp_seconds"
DEADLINE = "streetvision_retrain_deadline_timestamp_seconds"
LAST_SUCCESS = "streetvision_flow_last_success_timestamp_seconds"
AGE_DAYS = f"(time() - {FIRST_LIVE}) / 86400"
LEFT_DAYS = f"({DEADLINE} - time()) / 86400"
HIT_RATIO = f"sum(rate({HITS}{RATE})) / (sum(rate({HITS}{RATE})) + sum(rate({MISSES}{RATE})))"
ERROR_RATIO = f"sum(rate(streetvision_requests_total{{{FAULTS}}}{RATE})) / sum(rate(streetvision_requests_total{RATE}))"


def quantile(share: float, buckets: str, *by: str) -> str:
    """A quantile of a histogram over all instances."""
    labels = ", ".join((*by, "le"))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({buckets}{RATE})))"


def overview() -> Dashboard:
    """The first look when somebody is called."""
    made = page("streetvision-overview", "StreetVision: overview", "Is it up, right, fast, and young enough?")
    for panel in (
        number("Ready", "short", ("min(streetvision_ready)", ""), text="1: a release is loaded and answers"),
        number("Alerts", "short", ('count(ALERTS{alertstate="firing"}) or vector(0)', ""), steps=[(1, "red")]),
        number("Age of the release", "d", (AGE_DAYS, ""), steps=[(45, "yellow"), (75, "orange"), (85, "red")]),
        number("Until the deadline", "d", (LEFT_DAYS, ""), text="Days until a newer release must be live"),
        number("Drift", "short", ("max(streetvision_drift_detected)", ""), steps=[(1, "red")]),
        number("Newest challenger passes", "short", ("min(streetvision_gate_passed)", "")),
    ):
        made = made.with_panel(panel)
    requests = f"sum by (outcome) (rate(streetvision_requests_total{RATE}))"
    totals = [(quantile(share, REQUEST_BUCKET), f"p{share * 100:.0f}") for share in (0.5, 0.95, 0.99)]
    limit = ("max(streetvision_request_deadline_seconds)", "deadline")
    for graphed in (
        graph("Requests", "reqps", (requests, "{{outcome}}"), stacked=True),
        graph("Time for an answer", "s", *totals, limit),
        graph("Requests that fail", "percentunit", (ERROR_RATIO, "by our fault"), text="Not: what clients did wrong"),
        graph(
            "Results",
            "cps",
            (f"sum by (label) (rate({EXITS}{RATE}))", "{{label}}"),
            stacked=True,
            text="Images a second",
        ),
        graph("Exits", "percentunit", (share_of("stage"), "{{stage}}"), stacked=True, most=1),
        graph("Cache hits", "percentunit", (HIT_RATIO, "of the images"), most=1),
    ):
        made = made.with_panel(graphed)
    release = 'max by (release, instance) (streetvision_model_info{stage="classifier"})'
    labelled = 'streetvision_labelled_accuracy_ratio{share="control"}'
    made = made.with_panel(number("Release that answers", "short", (release, "{{release}}"), span=THIRD, named=True))
    champion = ("streetvision_champion_info", "{{release}}")
    made = made.with_panel(number("Champion", "short", champion, span=THIRD, named=True))
    return made.with_panel(number("Accuracy on reviewed traffic", "percentunit", (labelled, ""), span=THIRD))


def share_of(label: str, window: str = RATE) -> str:
    """Share of the images by stage or label."""
    return f"sum by ({label}) (rate({EXITS}{window})) / on () group_left sum(rate({EXITS}{window}))"


def cascade() -> Dashboard:
    """The stages: time, exits, what was skipped, and what they take."""
    made = page(
        "streetvision-cascade", "StreetVision: cascade", "Which stage decides, how long it takes, what it needs"
    )
    made = made.with_row(Row("Stages"))
    for share in (0.5, 0.95, 0.99):
        stage = (quantile(share, STAGE_BUCKET, "stage"), "{{stage}}")
        made = made.with_panel(graph(f"Time of a stage, p{share * 100:.0f}", "s", stage))
    skipped = f"sum by (stage, cause) (rate(streetvision_stage_skipped_total{RATE}))"
    images = f"sum by (stage) (rate(streetvision_stage_duration_seconds_count{RATE}))"
    sure = "streetvision_confidence_bucket"
    confidence = [(quantile(share, sure), f"p{share * 100:.0f}") for share in (0.1, 0.5, 0.9)]
    for panel in (
        graph("Exits", "percentunit", (share_of("stage"), "{{stage}}"), stacked=True, most=1),
        graph("Images through a stage", "cps", (images, "{{stage}}")),
        graph("Skipped", "cps", (skipped, "{{stage}}: {{cause}}")),
        graph("Confidence", "percentunit", *confidence, text="max(p, 1 - p): the surer, the higher", most=1),
        graph("Results", "percentunit", (share_of("label"), "{{label}}"), stacked=True, most=1),
        graph("Cache hits", "percentunit", (HIT_RATIO, "of the images"), most=1),
    ):
        made = made.with_panel(panel)
    made = made.with_row(Row("Memory and GPU"))
    computes = ("streetvision_stage_device_info", "{{stage}}: {{device}} {{precision}}")
    made = made.with_panel(number("Loaded stages, device and precision", "short", computes, span=WIDE, named=True))
    host = ("sum by (stage) (streetvision_host_memory_used_bytes)", "{{stage}}")
    gpu = ("sum by (stage) (streetvision_gpu_memory_used_bytes)", "{{stage}}")
    device = ("streetvision_gpu_device_memory_used_bytes", "GPU {{device}}")
    size = ("streetvision_gpu_device_memory_size_bytes", "GPU {{device}}, all")
    for panel in (
        graph("RAM of the stages", "bytes", host, ("max(streetvision_host_memory_limit_bytes)", "limit")),
        graph("RAM of the service", "bytes", ("process_resident_memory_bytes{job=\"streetvision\"}", "resident"),
              ("streetvision_host_memory_available_bytes", "available")),
        graph("GPU memory of the stages", "bytes", gpu, ("max(streetvision_gpu_memory_limit_bytes)", "limit")),
        graph("GPU memory in use", "bytes", device, size),
        graph("Temperature", "celsius", ("streetvision_gpu_temperature_celsius", "GPU {{device}}")),
        graph("Load", "percentunit", ("streetvision_gpu_utilization_ratio", "GPU {{device}}"), most=1),
    ):  # fmt: skip
        made = made.with_panel(panel)
    made = made.with_row(Row("Queues"))
    waiting = ("sum by (lane) (streetvision_requests_queued)", "{{lane}}")
    busy = ("sum by (lane) (streetvision_decoders_busy)", "{{lane}}")
    ended = (f"sum by (lane, reason) (rate(streetvision_decoders_ended_total{RATE}))", "{{lane}}: {{reason}}")
    at_work = ("sum(streetvision_requests_in_progress)", "in progress")
    for panel in (
        graph("Requests", "short", at_work, waiting, ("sum(streetvision_requests_limit)", "limit")),
        graph("Decoders at work", "short", busy, ("sum by (lane) (streetvision_decoders)", "{{lane}}, all")),
        graph("Decoders ended", "cps", ended),
    ):
        made = made.with_panel(panel)
    return made


def quality() -> Dashboard:
    """How right it is, and whether the traffic is still what it was made for."""
    made = page("streetvision-quality", "StreetVision: model quality and drift", "Reviewed traffic, gate, drift")
    made = made.with_row(Row("Reviewed pictures"))
    for panel in (
        graph("Accuracy", "percentunit", ("streetvision_labelled_accuracy_ratio", "{{share}}"), most=1,
              text="control: the random slice, which stands for the traffic; hard: what mining chose"),
        graph("MCC", "short", ("streetvision_labelled_mcc", "{{share}}"), least=-1, most=1),
        graph("Reward", "percentunit", ("streetvision_labelled_reward_ratio", "{{share}}"), most=1,
              text="(0.5 MCC over 100 + 0.5 accuracy over 10)^3 of the newest reviewed pictures"),
    ):  # fmt: skip
        made = made.with_panel(panel)
    made = made.with_row(Row("Drift"))
    level = ("max(streetvision_drift_level)", "level")
    for panel in (
        graph("Distance to the reference", "short", ("streetvision_drift_score", "{{signal}}"), least=None),
        graph(
            "p-value",
            "short",
            ("streetvision_drift_p_value", "{{signal}}"),
            level,
            text="A breach is at or below the level",
        ),
        graph("Runs in a row with a breach", "short", ("streetvision_drift_breaches", "runs")),
        graph(
            "Exits, an hour", "percentunit", (share_of("stage", "[1h]"), "{{stage}}"), span=HALF, stacked=True, most=1
        ),
        graph(
            "Exits, a week", "percentunit", (share_of("stage", "[7d]"), "{{stage}}"), span=HALF, stacked=True, most=1
        ),
    ):
        made = made.with_panel(panel)
    made = made.with_row(Row("Gate and releases"))
    differ = "streetvision_shadow_disagreement_pictures / streetvision_shadow_compared_pictures"
    for panel in (
        graph("Measures of the gate", "short", ("streetvision_gate_measure", "{{measure}}, {{side}}"), least=None),
        graph("Disagreement with the previous release", "percentunit", (differ, "of the pictures"), most=1),
        graph("Pictures compared", "short", ("streetvision_labelled_pictures", "reviewed, {{share}}"),
              ("streetvision_shadow_compared_pictures", "both releases"),
              ("streetvision_drift_pictures", "drift, {{window}}")),
    ):  # fmt: skip
        made = made.with_panel(panel)
    return made


def pipeline() -> Dashboard:
    """Runs, batches, reviews and releases."""
    made = page("streetvision-pipeline", "StreetVision: pipeline", "Did each flow run, and what came of it?")
    made = made.with_panel(
        number("Since the last success", "s", (f"time() - {LAST_SUCCESS}", "{{flow}}"), span=HALF,
               text="mine-daily runs every night, retrain every 90 days")
    )  # fmt: skip
    failed = "time() - streetvision_flow_last_failure_timestamp_seconds"
    made = made.with_panel(number("Since the last failure", "s", (failed, "{{flow}}"), span=HALF))
    offered = f"sum by (outcome) (rate(streetvision_inbox_pictures_total{RATE}))"
    age = "time() - streetvision_textfile_modified_timestamp_seconds"
    for panel in (
        graph("Age of the release", "d", (AGE_DAYS, "age"), (LEFT_DAYS, "until the deadline")),
        graph("Time that a run took", "s", ("streetvision_flow_last_duration_seconds", "{{flow}}")),
        graph("Promotions", "short", ("streetvision_promotions_total", "{{action}}")),
        graph("Offered to the inbox", "cps", (offered, "{{outcome}}")),
        graph("Mined", "short", ("streetvision_hard_cases_mined_total", "{{reason}}"), stacked=True),
        graph("Reviews", "short", ("streetvision_reviews_total", "{{decision}}"),
              ("streetvision_hard_cases_unreviewed", "waiting")),
        graph("Limits that the newest challenger keeps", "short", ("streetvision_gate_result", "{{check}}"), span=HALF),
        graph("Age of the series of batches", "s", (age, "{{file}}"),
              ("streetvision_textfile_unreadable_files", "damaged files"), span=HALF),
    ):  # fmt: skip
        made = made.with_panel(panel)
    return made


DASHBOARDS: tuple[Callable[[], Dashboard], ...] = (overview, cascade, quality, pipeline)


def as_json(dashboard: Dashboard) -> str:
    """A dashboard as Grafana reads it, its panels numbered, in the same bytes for the same code."""
    built = dashboard.build()
    for number_, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number_
    return str(JSONEncoder(sort_keys=True, indent=1).encode(built)) + "\n"


def main() -> None:
    """Write all dashboards."""
    FOLDER.mkdir(exist_ok=True)
    for make in DASHBOARDS:
        (FOLDER / f"{make.__name__}.json").write_text(as_json(make()), encoding="utf-8")


if __name__ == "__main__":
    main()
