"""Access tokens of the Hugging Face Hub: a plugin for detect-secrets, which has none of its own."""

from __future__ import annotations

import re
from typing import ClassVar

from detect_secrets.plugins.base import RegexBasedDetector


class HubTokenDetector(RegexBasedDetector):
    """Finds tokens as https://huggingface.co/docs/hub/security-tokens writes them."""

    secret_type = "Hugging Face Hub Token"  # noqa: S105  # pragma: allowlist secret
    denylist: ClassVar[list[re.Pattern[str]]] = [re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}\b")]
