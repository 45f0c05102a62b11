"""Keys of older parameter files, and what took their place."""

from __future__ import annotations

from typing import Any

# dotted path of before -> dotted path of now
RENAMED = {
    "judge": "vlm",
    "text": "ocr",
    "budget.ram_gib": "memory.ram_gib",
    "budget.gpu_gib": "memory.gpu_gib",
    "budget.retry_seconds": "memory.retry_seconds",
    "budget.stage_seconds": "timeouts",
    "budget.batch": "timeouts.batch",
    "budget.looks": "crops.count",
    "budget.look_pool": "crops.pool",
    "budget.worth_views": "select_stages.views",
    "budget.worth_images": "select_stages.images",
    "budget.worth_needless": "select_stages.sure_images",
    "budget.worth_min_net": "select_stages.min_net",
    "budget.worth_min_gain": "select_stages.min_gain",
    "budget.worth_confidence": "select_stages.confidence",
    "budget.clip": "clips",
    "budget.cache": "cache",
    "inbox.drift": "monitoring.drift",
    "register.tracking_uri": "stores.mlflow",
    "adapt.hard_times": "adapt.hard_repeats",
    "train.look_again": "train.tta_band",
    "train.tta": "train.tta_band",
    "export.int8.keep": "export.int8.exclude",
    "export.tensorrt.keep_in_fp32": "export.tensorrt.exclude",
}


def renamed_keys(document: dict[str, Any]) -> dict[str, str]:
    """Give the old keys that a document holds, with their successors."""
    return {old: new for old, new in RENAMED.items() if _has(document, old.split("."))}


def _has(document: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(document, dict) or key not in document:
            return False
        document = document[key]
    return True
