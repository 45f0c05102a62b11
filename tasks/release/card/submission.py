"""What the subnet is told of a release: model_card.json and registration.json, written beside the gate's report.

A promotion writes both (section `submission` of params.yaml); the release itself is immutable and does not hold them.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cascade.release.store import Release
from tasks.common.files import write_bytes
from tasks.config.clock import SubmissionParams
from tasks.release.card.reports import Reports
from tasks.release.card.subnet import FILE, CardError, ModelCard, read_card, write_card

NAME = "streetvision-cascade"
REGISTRATION = "registration.json"


class Registration(BaseModel):
    """Body of `POST https://hydra.natix.network/participant/register`, as register.sh (de8db29) makes it.

    Attributes:
        uid: of the miner, as text.
        message: Unix time in seconds, as text; what is signed.
        natix_public_key: ss58 address of the hotkey.
        natix_signature: of `message` by the hotkey; None: not signed, as no key is used here. register.sh signs anew.
        type: of the participant.
        model_repo: owner/name on the Hub.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    uid: str = Field(pattern=r"^\d+$")
    message: str = Field(pattern=r"^\d+$")
    natix_public_key: str
    natix_signature: str | None = None
    type: Literal["miner"] = "miner"
    model_repo: str


def write_submission(folder: Path, release: Release, submission: SubmissionParams, now: float) -> list[Path]:
    """Write both files into a folder; gives those that are new. Without `submitted_by` none is.

    A valid card of the same hotkey stays as it is: a release that is promoted again is no younger.

    Args:
        folder: of the release's records.
        release: whose figures stand in the card.
        submission: section `submission`.
        now: Unix time, seconds.

    Raises:
        CardError: a validator would refuse the card.
    """
    if submission.submitted_by is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    if not _is_written(folder / FILE, submission.submitted_by):
        written.append(write_card(folder, release_card(Reports(Path(), release), submission, now)))
    if submission.uid is not None and submission.repository is not None:
        path = folder / REGISTRATION
        write_bytes(path, (registration(submission, now).model_dump_json(indent=1) + "\n").encode())
        written.append(path)
    return written


def release_card(reports: Reports, submission: SubmissionParams, now: float) -> ModelCard:
    """The card of the subnet.

    Args:
        reports: whose figures stand in `notes`.
        submission: section `submission`, with `submitted_by`.
        now: Unix time, seconds.

    Raises:
        CardError: a validator would refuse it.
    """
    gate = reports.read("validate") or {}
    figures = ", ".join(f"{name} {gate[name]:.3f}" for name in ("mcc", "accuracy", "reward") if name in gate)
    built = f"release {reports.release.id}, " if reports.release else ""
    document = {
        "model_name": NAME,
        "description": "Roadworks in street images: a cascade behind a calibrated DINOv2 classifier",
        "version": submission.version or own_version(),
        "submitted_by": submission.submitted_by,
        "submission_time": int(now * 1000) if submission.time_unit == "milliseconds" else int(now),
        "architecture": "DINOv2 with merged low-rank changes and a convolutional head; later stages optional",
        "notes": f"{built}challenge set: {figures or 'not measured'}",
    }
    return read_card(json.dumps(document))


def registration(submission: SubmissionParams, now: float) -> Registration:
    """The registration, unsigned.

    Raises:
        CardError: the hotkey, uid or repository is not set.
    """
    known = (submission.submitted_by, submission.uid, submission.repository)
    if any(one is None for one in known):
        raise CardError(f"{REGISTRATION}: set submission.submitted_by, submission.uid and submission.repository")
    hotkey, uid, repository = (str(one) for one in known)
    return Registration(uid=uid, message=str(int(now)), natix_public_key=hotkey, model_repo=repository)


def own_version() -> str:
    """Version of the package, X.Y.Z."""
    try:
        return version(NAME)
    except PackageNotFoundError:
        return "0.0.0"


def _is_written(path: Path, hotkey: str) -> bool:
    try:
        return read_card(path.read_bytes()).submitted_by == hotkey
    except (OSError, CardError):
        return False
