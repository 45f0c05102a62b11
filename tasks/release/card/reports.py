"""What a card is made from: reports and manifests of a project's folder, and what writes those that are missing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.release.store import Release
from tasks.common.files import read_json, sha256

# by folder under reports: what writes it
COMMANDS = {
    "pull": "dvc repro pull_data",
    "train": "dvc repro train",
    "validate": "dvc repro validate",
    "detect": "dvc repro detect",
    "vlm": "dvc repro vlm",
    "select_stages": "dvc repro select_stages",
}
SHIPPED = {
    "adapter": "changes to the backbone of stage 1, and their head",
    "detectors/yolo": "YOLO11n of stage 2",
    "detectors/detr": "RF-DETR of stage 2",
    "vlm": "projector of stage 3",
}
DIGEST = 12  # digits that are shown


@dataclass(frozen=True)
class Reports:
    """The reports of a run.

    Attributes:
        root: folder of the project.
        release: whose figures of `validate` they are; None for those of the last run.
    """

    root: Path
    release: Release | None = None

    def read(self, name: str) -> dict[str, Any] | None:
        """All figures of a step; None where they are missing, or of another run than the release."""
        if name == "validate" and self.release is not None:
            return dict(self.release.manifest.gate)
        path = self._path(name)
        if not path.is_file() or not self.same_run:
            return None
        return dict(read_json(path))

    def missing(self, name: str) -> str:
        """Why `read` gives nothing, and what to do."""
        if not self.same_run:
            return (
                "No figures: the reports are of another run than the release; `git checkout` of the release's revision "
                "brings its own."
            )
        return f"No figures: reports/{name}/metrics.json is missing; `{COMMANDS[name]}` writes it."

    def manifest(self, name: str) -> dict[str, Any] | None:
        """The manifest of shipped weights, or None."""
        path = self.root / "models" / "shipped" / name / "manifest.json"
        return dict(read_json(path)) if path.is_file() else None

    @property
    def same_run(self) -> bool:
        """Whether the reports are of the run that the release was built from: its gate is the report of `validate`."""
        path = self._path("validate")
        return self.release is None or (path.is_file() and read_json(path) == self.release.manifest.gate)

    @property
    def digest(self) -> str:
        """Of the figures of `validate`: the same for a release and for the report that it was built with."""
        gate = self.read("validate")
        return "" if gate is None else sha256(json.dumps(gate, sort_keys=True).encode())[:DIGEST]

    def _path(self, name: str) -> Path:
        return self.root / "reports" / name / "metrics.json"
