"""What runs the stages, as the live service says it: a miner that believes in its GPU may answer from the processor."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import httpx

from cascade.api.process import status
from cascade.release.store import RELEASES, ReleaseError, champion
from cascade.stages.describe import StageStatus, describe_stages, off_gpu_warning
from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.gpu import DriverError, read_cards
from tasks.doctor.registry import Context, check


@check("engine", needs_params=True)
def engine(context: Context) -> Iterator[Finding]:
    """Asks `/v1/release`; where a key keeps it, the release's files say the same."""
    live = status()
    if live is None:
        yield not_asked("no service runs", "`streetvision up`")
        return
    try:
        answer = httpx.get(f"{live.address}/v1/release", timeout=3, trust_env=False)
        stages = (
            [StageStatus.model_validate(one) for one in answer.json()["stages"]] if answer.status_code == 200 else None
        )
    except (httpx.HTTPError, ValueError, KeyError) as failure:
        yield error(
            f"the service does not say what it runs ({type(failure).__name__})", "its log; `streetvision status`"
        )
        return
    stages = stages if stages is not None else _from_files(context.needed.memory.gpu_stages)
    try:
        has_gpu: bool = bool(read_cards())
    except DriverError:
        has_gpu = False
    yield judge_engine(stages, context.needed.memory.gpu_gib, has_gpu=has_gpu)


def judge_engine(stages: Sequence[StageStatus], gpu_gib: float, *, has_gpu: bool) -> Finding:
    """Compare what runs the stages with what params.yaml means them to have."""
    on = [one for one in stages if one.on]
    words = "; ".join(f"{one.name}: {one.runs_on or 'not said'}" for one in on)
    on_gpu = [one for one in on if one.device not in (None, "cpu")]
    if damaged := [one.name for one in on if one.why.startswith("damaged")]:
        return error(f"stages that cannot be read: {', '.join(damaged)}", "the service's log; `streetvision rollback`")
    if on_gpu and not has_gpu:
        return error(f"{words}; and this machine has no GPU that answers", "the check GPU of `streetvision doctor`")
    if wrong := off_gpu_warning(stages):
        return warning(f"{words}. {wrong}", "export.engine: auto, detect.engine: auto and `make run`, docs/engines.md")
    if gpu_gib and not on_gpu:
        return warning(
            f"{words}: no stage uses the GPU, and memory.gpu_gib is {gpu_gib:g}",
            "export.engine: auto and `make run`, docs/engines.md",
        )
    return ok(words)


def _from_files(gpu_stages: Collection[str]) -> list[StageStatus]:
    try:
        release: Any = champion(RELEASES, digests=False)
    except ReleaseError:
        return []
    return describe_stages(release, gpu_stages) if release else []
