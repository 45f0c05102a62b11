"""The series of batch runs, as a table; see `cascade.metrics.series`.

Times are exported as they are, never as "seconds since": the age of something that nobody updates any more still grows.
"""

from __future__ import annotations

from cascade.metrics.series import SERVICE, Series

FLOW_SUCCESS = Series(
    "streetvision_flow_last_success_timestamp_seconds", "gauge", "When a run of a flow last succeeded", ("flow",)
)
FLOW_FAILURE = Series(
    "streetvision_flow_last_failure_timestamp_seconds", "gauge", "When a run of a flow last failed", ("flow",)
)
FLOW_SECONDS = Series(
    "streetvision_flow_last_duration_seconds", "gauge", "Time that the last successful run of a flow took", ("flow",)
)
CHAMPION = Series("streetvision_champion_info", "gauge", "1 for the release that the ledger has as live", ("release",))
FIRST_LIVE = Series(
    "streetvision_champion_first_live_timestamp_seconds", "gauge", "When the champion first went live: its age"
)
DEADLINE = Series("streetvision_retrain_deadline_timestamp_seconds", "gauge", "Until when a newer release must be live")
PROMOTIONS = Series("streetvision_promotions_total", "counter", "Lines of the ledger", ("action",))
MINED = Series("streetvision_hard_cases_mined_total", "counter", "Pictures in the daily batches", ("reason",))
UNREVIEWED = Series("streetvision_hard_cases_unreviewed", "gauge", "Pictures of the daily batches without a review")
REVIEWS = Series("streetvision_reviews_total", "counter", "Reviews by people", ("decision",))
GATE_CHECK = Series(
    "streetvision_gate_result", "gauge", "1 where the newest challenger keeps a limit, else 0", ("check",)
)
GATE_PASSED = Series("streetvision_gate_passed", "gauge", "1 where the newest challenger may be promoted, else 0")
GATE_WHEN = Series("streetvision_gate_timestamp_seconds", "gauge", "When the gate last compared")
GATE_MEASURE = Series(
    "streetvision_gate_measure",
    "gauge",
    "Measures of the newest comparison on the challenge set",
    ("measure", "side"),
)
SHADOW_COMPARED = Series("streetvision_shadow_compared_pictures", "gauge", "Pictures that two releases answered")
SHADOW_DIFFERENT = Series("streetvision_shadow_disagreement_pictures", "gauge", "Those of them with another label")
LABELLED = Series(
    "streetvision_labelled_pictures",
    "gauge",
    "Reviewed pictures that were answered, random or mined",
    ("share",),
)
ACCURACY = Series("streetvision_labelled_accuracy_ratio", "gauge", "Share of them answered right, 0 to 1", ("share",))
MCC = Series("streetvision_labelled_mcc", "gauge", "Their Matthews correlation, -1 to 1", ("share",))
REWARD = Series(
    "streetvision_labelled_reward_ratio", "gauge", "(0.5 MCC + 0.5 accuracy)^3 of the newest ones, 0 to 1", ("share",)
)
DRIFT_SCORE = Series(
    "streetvision_drift_score",
    "gauge",
    "Distance to the reference: squared MMD, KS distance, total variation",
    ("signal",),
)
DRIFT_P = Series(
    "streetvision_drift_p_value", "gauge", "Of its permutation test, corrected for their number", ("signal",)
)
DRIFT_LEVEL = Series("streetvision_drift_level", "gauge", "Below it a p-value is a breach")
DRIFT_BREACHES = Series("streetvision_drift_breaches", "gauge", "Runs in a row with a breach, up to the newest")
DRIFT_EVENT = Series("streetvision_drift_detected", "gauge", "1 once enough runs in a row had a breach, else 0")
DRIFT_PICTURES = Series("streetvision_drift_pictures", "gauge", "Pictures compared, and those with", ("window",))

PIPELINE = (
    FLOW_SUCCESS, FLOW_FAILURE, FLOW_SECONDS, CHAMPION, FIRST_LIVE, DEADLINE, PROMOTIONS, MINED, UNREVIEWED, REVIEWS,
    GATE_CHECK, GATE_PASSED, GATE_WHEN, GATE_MEASURE, SHADOW_COMPARED, SHADOW_DIFFERENT, LABELLED, ACCURACY, MCC,
    REWARD, DRIFT_SCORE, DRIFT_P, DRIFT_LEVEL, DRIFT_BREACHES, DRIFT_EVENT, DRIFT_PICTURES,
)  # fmt: skip
ALL = (*SERVICE, *PIPELINE)
