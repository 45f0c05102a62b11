"""Secrets of other kinds, such as keys of clouds, tokens and private keys: by detect-secrets, against its baseline.

It reads line by line, which took 34 s of a processor for this repository. So a file is first searched as a whole for
the tool's own patterns, and the tool reads only those in which one occurs. `.secrets.baseline` lists by digest what
people have looked at and found to be no secret, such as a password in a test.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.common.files import write_bytes
from tasks.secret_scan.files import read_text
from tasks.secret_scan.leak import Leak

if TYPE_CHECKING:
    from detect_secrets.core.secrets_collection import SecretsCollection

BASELINE = ".secrets.baseline"
# not: the two for random strings, which every digest of a manifest is; addresses, which are no secret; slow patterns
# of services that nothing here uses (Artifactory, Cloudant, IBM Cloud, Mailchimp, SoftLayer)
TOKENS = (
    *("AWSKeyDetector", "AzureStorageKeyDetector", "BasicAuthDetector", "DiscordBotTokenDetector"),
    *("GitHubTokenDetector", "GitLabTokenDetector", "JwtTokenDetector", "NpmDetector", "OpenAIDetector"),
    *("PrivateKeyDetector", "PypiTokenDetector", "SendGridDetector", "SlackDetector", "SquareOAuthDetector"),
    *("StripeDetector", "TelegramBotTokenDetector", "TwilioKeyDetector"),
)
KEYWORD = ("KeywordDetector",)
HUB_TOKEN = {"name": "HubTokenDetector", "path": Path(__file__).with_name("hub_token.py").resolve().as_uri()}
# no verification: it would ask the services whose keys are found
FILTERS = (
    "detect_secrets.filters.allowlist.is_line_allowlisted",
    "detect_secrets.filters.heuristic.is_indirect_reference",
    "detect_secrets.filters.heuristic.is_lock_file",
    "detect_secrets.filters.heuristic.is_not_alphanumeric_string",
    "detect_secrets.filters.heuristic.is_potential_uuid",
    "detect_secrets.filters.heuristic.is_prefixed_with_dollar_sign",
    "detect_secrets.filters.heuristic.is_sequential_string",
    "detect_secrets.filters.heuristic.is_templated_secret",
)


def new_leaks(root: Path, names: Iterable[str], deadline: float = float("inf")) -> list[Leak]:
    """Give what is found in files and is not in the baseline, where people have said that it is no secret.

    Args:
        root: of the project.
        names: of files below it.
        deadline: of `time.monotonic`.

    Raises:
        ModuleNotFoundError: the package `detect-secrets` (extra `train`) is not installed.
        TimeoutError: the deadline came before the last file.
        ValueError: the baseline cannot be read.
    """
    new = _scan(root, names, deadline) - _known(root)
    return sorted({Leak(Path(one.filename).as_posix(), one.line_number, one.type) for _, one in new})


def write_baseline(root: Path, names: Iterable[str]) -> int:
    """Write what is found now as known and no secret; give how many there are."""
    from detect_secrets.core import baseline

    found = _scan(root, names)
    with _settings(*TOKENS, *KEYWORD):
        document = baseline.format_for_output(found)
    # the time would make every baseline another one, and a path leads nowhere on another machine
    document.pop("generated_at", None)
    document["plugins_used"] = [one for one in document["plugins_used"] if "path" not in one]
    write_bytes(root / BASELINE, (json.dumps(document, indent=1) + "\n").encode())
    return len(list(found))


@contextmanager
def _settings(*names: str) -> Iterator[None]:
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.settings import transient_settings

    # it is filled once a process, by whoever is first, perhaps without ours
    get_mapping_from_secret_type_to_class.cache_clear()
    plugins = [HUB_TOKEN, *({"name": name} for name in names)]
    config: dict[str, Any] = {"plugins_used": plugins, "filters_used": [{"path": path} for path in FILTERS]}
    with transient_settings(config):
        yield


def _known(root: Path) -> SecretsCollection:
    from detect_secrets.core import baseline
    from detect_secrets.core.secrets_collection import SecretsCollection
    from detect_secrets.exceptions import UnableToReadBaselineError

    if not (root / BASELINE).is_file():
        return SecretsCollection()
    try:
        return SecretsCollection.load_from_baseline(baseline.load_from_file(str(root / BASELINE)))
    except (UnableToReadBaselineError, KeyError) as error:
        raise ValueError(f"{BASELINE} cannot be read ({error}); `python -m tasks.tools.secret_scan --update`") from None


def _scan(root: Path, names: Iterable[str], deadline: float = float("inf")) -> SecretsCollection:
    """Each file gets the plugins for which there is something in it: the tool's time grows with their number."""
    from detect_secrets.core.secrets_collection import SecretsCollection

    found = SecretsCollection(root=str(root))
    texts = {name: text for name in names if name != BASELINE and (text := read_text(root / name)) is not None}
    for plugins, is_suspicious in ((TOKENS, _has_token), (KEYWORD, _has_assignment)):
        with _settings(*plugins):
            for name, text in texts.items():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the time was over before the last of {len(texts)} files")
                if is_suspicious(text.decode("utf-8", "replace")):
                    found.scan_file(name)
    return found


def _has_token(text: str) -> bool:
    return any(pattern.search(text) for pattern in _patterns())


def _has_assignment(text: str) -> bool:
    low = text.lower()
    # the search for plain words is many times faster than that for the pattern
    return any(word in low for word in _keywords()) and _assignment().search(low) is not None


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """The patterns of the plugins of TOKENS; called within their settings."""
    from detect_secrets.plugins.base import RegexBasedDetector
    from detect_secrets.settings import get_plugins

    return tuple(pattern for one in get_plugins() if isinstance(one, RegexBasedDetector) for pattern in one.denylist)


@cache
def _keywords() -> tuple[str, ...]:
    """Names of secrets that the plugin for `password = ...` looks for, with and without the line in their middle."""
    from detect_secrets.plugins.keyword import DENYLIST

    return tuple(word for one in DENYLIST for word in {one.replace("_?", "_"), one.replace("_?", "")})


@cache
def _assignment() -> re.Pattern[str]:
    """Such a name, and what would give it a value."""
    return re.compile(rf"(?:{'|'.join(_keywords())})\w*[\]'\"]{{0,2}}\s*(?:[=:(!]|[^\s]{{0,50}}?=)")
