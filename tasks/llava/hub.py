"""A VLM of the Hugging Face Hub: which files are fetched, and where they go."""

from __future__ import annotations

from tasks.common.hub import Snapshot, fetch_snapshot
from tasks.config.vlm import VlmModelParams

# safetensors, settings, tokenizer and chat template: no pickle and no code
HUB_FILES = (
    "config.json",
    "preprocessor_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "*.json",
    "*.jinja",
    "*.txt",
    "*.model",
)


def hub_snapshot(repo: str, revision: str) -> Snapshot:
    """A VLM of the Hub; it goes into the Hub's own cache, where transformers and vLLM find it."""
    return Snapshot(repo, revision, patterns=HUB_FILES, stage="vlm")


def fetch(model: VlmModelParams) -> None:
    """Bring a pinned snapshot into the Hub's cache; an interrupted download goes on where it stopped.

    Raises:
        HubError: the Hub refuses or does not answer.
    """
    if model.source == "hub":
        fetch_snapshot(hub_snapshot(model.repo or "", model.revision or ""))
