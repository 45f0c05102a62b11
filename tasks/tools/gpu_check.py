"""Every model of a profile at its real size on the card of this machine: `make gpu-check`, nothing is downloaded.

`python -m tasks.tools.gpu_check --device cpu --tiny` runs the same code with small models on a processor. Exit code 1
where a check fails or a claim of the profile does not hold. It needs torch and transformers, and for each check the
libraries of its stage; one whose libraries are missing is a row that says what to install.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from cascade.config.base import YamlLoader, read_sections, validated
from tasks.common.files import write_json
from tasks.config import PARAMS_FILE, ConfigError, Params
from tasks.gpu_check.card import Card
from tasks.gpu_check.judge import claims
from tasks.gpu_check.plan import checks_of, left_out
from tasks.gpu_check.probe import ask_card
from tasks.gpu_check.run import Outcome, Settings, run_checks
from tasks.gpu_check.show import document, passed, table
from tasks.gpu_check.work import Check
from tasks.tools.profile import PROFILES, names

SECONDS = 480.0
INTERRUPTED = 130  # exit code, as of a shell
ANY_COMMIT = "0" * 40
# what a profile leaves to its user; nothing is downloaded, so any commit will do
PINNED = (
    *("pull.backbone.revision", "pull.data.revision", "synthesize.sdxl.revision", "detect.detr.revision"),
    *("vlm.model.revision", "vlm.clip_model.revision", "ocr.revision"),
)
# for configurations of a few thousand weights
TINY: dict[str, Any] = {
    "adapt.frozen_blocks": 0, "adapt.rank": 2, "adapt.batch_size": 2, "embed.layers": [1, 2], "embed.size": 56,
    "train.hidden": 8, "export.batch": {"minimum": 1, "optimum": 1, "maximum": 2},
    "detect.yolo.scale": "n", "detect.yolo.size": 64, "detect.yolo.batch_size": 2,
    "detect.detr.size": 64, "detect.detr.batch_size": 2,
    "vlm.batch_size": 2, "vlm.max_side": 112, "vlm.clip_frames": 2, "vlm.max_tokens": 2, "timeouts.batch": 2,
    "ocr.max_side": 64, "synthesize.sdxl.steps": 2, "synthesize.sdxl.width": 64, "synthesize.sdxl.height": 64,
    "synthesize.sdxl.batch_size": 1,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    options = _options(arguments)
    try:
        params = read_profile(options.profile, {**(TINY if options.tiny else {}), **dict(options.changes)})
        chosen = _chosen(checks_of(params), options.only)
    except ConfigError as error:
        print(f"gpu-check: {error}", file=sys.stderr)
        return 1
    deadline = time.monotonic() + options.seconds
    card: Card | None = None
    if options.device == "cuda":
        found = ask_card()
        if isinstance(found, str):
            print(f"gpu-check: {found}", file=sys.stderr)
            return 1
        card = found
    settings = Settings(params, options.device, options.tiny, deadline, options.limit)
    try:
        outcomes = _run(chosen, settings)
    except KeyboardInterrupt:
        print("gpu-check: interrupted", file=sys.stderr)
        return INTERRUPTED
    return _report(outcomes, settings, card, options)


def read_profile(name: str, changes: dict[str, Any]) -> Params:
    """The parameters of a profile over params.yaml, with any commit where it leaves one open.

    `tasks.tools.profile` rewrites the file with its comments, by a library that a bare machine lacks.

    Raises:
        ConfigError: a key is unknown, or the result does not fit.
    """
    document = read_sections(PARAMS_FILE)
    profile = yaml.load((PROFILES / f"{name}.yaml").read_text(encoding="utf-8"), YamlLoader)  # noqa: S506
    for key, value in {"profile": name, **profile, **changes}.items():
        _put(document, key, value)
    for key in PINNED:
        *above, last = key.split(".")
        section = _section(document, above)
        if isinstance(section, dict) and last in section:
            section[last] = section[last] or ANY_COMMIT
    return validated(Params, document, PARAMS_FILE)


def _section(document: Any, above: Sequence[str]) -> Any:
    for key in above:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _put(document: Any, dotted: str, value: Any) -> None:
    *above, last = dotted.split(".")
    section = _section(document, above)
    if not isinstance(section, dict) or last not in section:
        raise ConfigError(f"{dotted}: {PARAMS_FILE} has no such key")
    section[last] = value


def _chosen(checks: list[Check], only: list[str]) -> list[Check]:
    known = [one.name for one in checks]
    if unknown := [name for name in only if name not in known]:
        raise ConfigError(f"--only {unknown[0]}: no such check; this profile has {', '.join(known)}")
    return [one for one in checks if not only or one.name in only]


def _run(checks: list[Check], settings: Settings) -> list[Outcome]:
    from tqdm import tqdm

    with tqdm(total=len(checks), unit="check", desc="gpu-check", disable=None) as bar:
        return run_checks(checks, settings, lambda check: bar.set_postfix_str(check.name), lambda _: bar.update())


def _report(outcomes: list[Outcome], settings: Settings, card: Card | None, options: argparse.Namespace) -> int:
    judged = claims(outcomes, settings.params, settings.device, tiny=settings.tiny)
    found = document(outcomes, judged, profile=options.profile, device=settings.device, tiny=settings.tiny, card=card)
    if options.out:
        write_json(options.out, found)
    if options.as_json:
        print(json.dumps(found, indent=2))
    else:
        from rich.console import Console

        console = Console()
        console.print(_title(card, settings.device, tiny=settings.tiny))
        console.print(table(outcomes, judged))
        console.print(*(f"not checked: {words}" for words in left_out(settings.params)), sep="\n")
    return 0 if passed(outcomes, judged) else 1


def _title(card: Card | None, device: Literal["cuda", "cpu"], *, tiny: bool) -> str:
    where = f"{card.name}, {card.gib:.1f} GiB, torch {card.torch}, CUDA {card.cuda}" if card else device
    return f"{where}{'; tiny models, whose figures say nothing about a card' if tiny else ''}"


def _change(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text}: expected key=value")
    return key, yaml.load(value, YamlLoader)  # noqa: S506  # a SafeLoader


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.tools.gpu_check", description=__doc__)
    parser.add_argument("--profile", choices=names(), default="gpu24")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="models of a few thousand weights, of the same classes")
    parser.add_argument("--only", action="append", default=[], metavar="CHECK", help="may be repeated")
    parser.add_argument("--set", dest="changes", type=_change, action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for the whole run")
    parser.add_argument("--limit", type=float, help="seconds for each check, in place of its own limit")
    parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, help="a file for the JSON as well")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
