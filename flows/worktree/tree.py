"""The tree of a run: where it lies, of which revision it is, and its record, which says whether it is whole."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.dvc.errors import PipelineError
from tasks.common.files import write_json

# how the launcher (flows/worktree/launch.py) tells the flow: the record of its tree, or why there is none
RECORD, FAULT, IN_PLACE = "STREETVISION_TREE", "STREETVISION_TREE_FAULT", "STREETVISION_IN_PLACE"


class RunTree(BaseModel):
    """A worktree of one run; paths are absolute.

    Attributes:
        folder: of the worktree.
        root: of the project in it; another folder where the project is a part of a larger repository.
        checkout: the project's own folder: releases, ledger, MLflow and the service are there.
        revision: full hash of the commit that was deployed.
        run: id of the flow run.
        resumed: whether an earlier run that did not come to its end has left it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    folder: Path
    root: Path
    checkout: Path
    revision: str
    run: str
    resumed: bool = False

    @property
    def record(self) -> Path:
        """The record; it is written when the tree is whole, and taken away before anything of it is removed."""
        return self.folder.with_name(f"{self.folder.name}.json")

    @property
    def done(self) -> Path:
        """Is there when the run has come to its end, and the tree is needed no more."""
        return self.folder.with_name(f"{self.folder.name}.done")

    def write(self) -> None:
        """Write the record."""
        write_json(self.record, self.model_dump(mode="json"))


def read_record(record: Path) -> RunTree | None:
    """The tree of a record; None where it is missing, damaged, or its folder is gone."""
    try:
        tree = RunTree.model_validate_json(record.read_bytes())
    except (OSError, ValidationError):
        return None
    return tree if (tree.root / "dvc.yaml").is_file() else None


def own_tree() -> RunTree | None:
    """The tree that the launcher made for this process; None where the run works in place.

    Raises:
        PipelineError: the launcher could not make one, or it is gone.
    """
    if fault := os.environ.get(FAULT):
        raise PipelineError(f"no tree of its own for this run: {fault}")
    if not (record := os.environ.get(RECORD)):
        return None
    tree = read_record(Path(record))
    if tree is None:
        raise PipelineError(f"{record}: the tree of this run is gone")
    return tree
