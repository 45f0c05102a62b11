"""Secrets of other kinds, such as keys of clouds, tokens and private keys: by detect-secrets, against its baseline.

It reads line by line, which took 34 s of a processor for this repository. So a file is first searched as a whole for
the tool's own patterns, and the tool reads only those in which one occurs. `.secrets.baseline` lists by digest what
people have looked at and found to be no secret, such as a password in a test.
"""

from __future__ import annotations

import json
import re
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
PLUGINS = (
    *(
        "AWSKeyDetector",
        "AzureStorageKeyDetector",
        "BasicAuthDetector",
        "DiscordBotTokenDetector",
    ),
    *("GitHubTokenDetector", "GitLabTokenDetector", "JwtTokenDetector", "KeywordDetector"),
    *("NpmDetector", "OpenAIDetector", "PrivateKeyDetector", "PypiTokenDetector", "SendGridDetector", "SlackDetector"),
    *("SquareOAuthDetector", "StripeDetector", "TelegramBotTokenDetector", "TwilioKeyDetector"),
)
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


def new_leaks(root: Path, names: Iterable[str]) -> list[Leak]:
    """Give what is found in files and is not in the baseline, where people have said that it is no secret.

    Raises:
        ModuleNotFoundError: the package `detect-secrets` (extra `train`) is not installed.
        ValueError: the baseline cannot be read.
    """
    with _settings():
        found = _scan(root, names)
        new = found - _known(root)
        return sorted({Leak(Path(one.filename).as_posix(), one.line_number, one.type) for _, one in new})


def write_baseline(root: Path, names: Iterable[str]) -> int:
    """Write what is found now as known and no secret; give how many there are."""
    from detect_secrets.core import baseline

    with _settings():
        found = _scan(root, names)
        document = baseline.format_for_output(found)
    # the time would make every baseline another one, and a path leads nowhere on another machine
    document.pop("generated_at", None)
    document["plugins_used"] = [one for one in document["plugins_used"] if "path" not in one]
    write_bytes(root / BASELINE, (json.dumps(document, indent=1) + "\n").encode())
    return len(list(found))


@contextmanager
def _settings() -> Iterator[None]:
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.settings import transient_settings

    # it is filled once a process, by whoever is first, perhaps without ours
    get_mapping_from_secret_type_to_class.cache_clear()
    plugins = [HUB_TOKEN, *({"name": name} for name in PLUGINS)]
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


def _scan(root: Path, names: Iterable[str]) -> SecretsCollection:
    from detect_secrets.core.secrets_collection import SecretsCollection

    found = SecretsCollection(root=str(root))
    for name in names:
        text = read_text(root / name) if name != BASELINE else None
        if text is not None and _suspicious(text):
            found.scan_file(name)
    return found


def _suspicious(text: bytes) -> bool:
    plain = text.decode("utf-8", "replace")
    if any(pattern.search(plain) for pattern in _patterns()):
        return True
    low = plain.lower()
    # the search for plain words is many times faster than that for the pattern
    return any(word in low for word in _keywords()) and _assignment().search(low) is not None


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """The patterns of the tool's plugins; `_settings` chooses them."""
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
