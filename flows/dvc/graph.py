"""The stage graph and its stale stages, read from DVC and never retyped: a new stage needs no change here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.process.supervisor import run
from flows.dvc.errors import PipelineError
from flows.dvc.locks import wait_for_lock
from flows.dvc.without_git import set_no_scm

PICTURES = {".png", ".jpg", ".jpeg", ".svg"}


@dataclass(frozen=True)
class DvcStage:
    """One stage of dvc.yaml; paths are absolute."""

    name: str
    parents: tuple[str, ...]
    metrics: tuple[Path, ...]
    plots: tuple[Path, ...]

    def pictures(self) -> list[Path]:
        """The picture files among this stage's plots, those of a plot folder included, in order of name.

        Those beside its metrics follow: pictures of timings, which DVC must not track.
        """
        files = [file for path in self.plots for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        files += [file for folder in {path.parent for path in self.metrics} for file in sorted(folder.glob("*"))]
        return [file for file in dict.fromkeys(files) if file.suffix.lower() in PICTURES and file.is_file()]


@dataclass(frozen=True)
class Pipeline:
    """The stages of one DVC repository, parents before children."""

    root: Path
    stages: dict[str, DvcStage]

    def downstream(self, names: set[str]) -> set[str]:
        """`names` and every stage that depends on one of them, directly or not."""
        found: set[str] = set()
        for name, stage in self.stages.items():
            if name in names or found.intersection(stage.parents):
                found.add(name)
        return found

    def critical(self) -> set[str]:
        """The stages on a longest chain, counted in stages: the run is over no sooner than they are."""
        above: dict[str, int] = {}
        for name, stage in self.stages.items():
            above[name] = 1 + max((above[parent] for parent in stage.parents), default=0)
        critical = {name for name, length in above.items() if length == max(above.values())}
        for name, stage in reversed(self.stages.items()):
            if name in critical:
                critical |= {parent for parent in stage.parents if above[parent] == above[name] - 1}
        return critical


def dvc_command(*arguments: str) -> list[str]:
    """The command line of this environment's DVC, which waits while another DVC holds the repository's lock."""
    return [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]


def stage_environment() -> dict[str, str]:
    """The environment of a stage: `python` is the one that runs us, and progress bars print every ten seconds."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "10"}


def read_pipeline(root: Path) -> Pipeline:
    """Read the stage graph of the DVC repository at `root`.

    Raises:
        PipelineError: dvc.yaml is missing or DVC refuses it; the message is DVC's own.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    set_no_scm(root)
    try:
        with Repo(str(root)) as repo:
            graph = repo.index.graph
            parents = {node: [target for source, target in graph.edges if source is node] for node in graph.nodes}
    except DvcException as error:
        raise PipelineError(f"{root}: DVC cannot read the pipeline: {error}") from error
    stages = [_stage(node, above, root) for node, above in parents.items() if _is_stage(node)]
    if not stages:
        raise PipelineError(f"{root / 'dvc.yaml'}: no stages; run from the project's root")
    return Pipeline(root, _parents_first({stage.name: stage for stage in stages}))


def stale_stages(pipeline: Pipeline) -> set[str]:
    """The stages that a `dvc repro` may have to run: those DVC finds changed and all that follow from them.

    Raises:
        PipelineError: `dvc status` failed, with DVC's own message, or another process blocks it.
    """
    code, output = wait_for_lock(pipeline.root, lambda: _status(pipeline.root), _say)
    if code != 0:
        raise PipelineError(f"dvc status failed: {output}")
    changed = {name for name in json.loads(output or "{}") if not name.endswith(".dvc")}
    if unknown := changed - pipeline.stages.keys():
        raise PipelineError(f"dvc status names stages that are not in the graph: {', '.join(sorted(unknown))}")
    return pipeline.downstream(changed)


def _say(line: str) -> None:
    print(line, flush=True)


def _status(root: Path) -> tuple[int, str]:
    done = run(dvc_command("status", "--json"), cwd=root, env=stage_environment(), stderr=subprocess.PIPE)
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr or done.stdout).strip()


def _is_stage(node: Any) -> bool:
    """Tell a stage of a dvc.yaml from a plain tracked file (`x.dvc`), which is nothing to run."""
    return bool(getattr(node, "name", None))


def _stage(node: Any, above: list[Any], root: Path) -> DvcStage:
    return DvcStage(
        name=_address(node, root),
        parents=tuple(sorted(_address(one, root) for one in above if _is_stage(one))),
        metrics=tuple(Path(out.fs_path) for out in node.outs if out.metric),
        plots=tuple(Path(out.fs_path) for out in node.outs if out.plot),
    )


def _address(node: Any, root: Path) -> str:
    """What DVC calls a stage when it runs in `root`; its own `addressing` depends on where we are."""
    file = Path(node.path).resolve().relative_to(root.resolve())
    return str(node.name) if file == Path("dvc.yaml") else f"{file}:{node.name}"


def _parents_first(stages: dict[str, DvcStage]) -> dict[str, DvcStage]:
    """Order by dependency, then by name, so that two reads of one dvc.yaml agree."""
    from graphlib import TopologicalSorter

    order = TopologicalSorter({name: sorted(stage.parents) for name, stage in sorted(stages.items())})
    return {name: stages[name] for name in order.static_order()}
