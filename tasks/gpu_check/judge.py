"""The figures of a run against what the profile claims: its memory, its time-outs and its deadline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.config import Params
from tasks.gpu_check.run import Outcome
from tasks.gpu_check.work import Figures

STAGE_OF = {"yolo": "detectors", "detr": "detectors", "vlm clips": "vlm"}
STAGES = ("classifier", "detectors", "vlm", "ocr")


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        checks: names of those whose figures it is about.
        key: of params.yaml, that promises it.
        measured, limit: in `unit`; it holds up to the limit.
        words: what was measured.
    """

    checks: tuple[str, ...]
    key: str
    measured: float
    limit: float
    unit: Literal["GiB", "s"]
    words: str

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.measured <= self.limit

    def __str__(self) -> str:
        """In one line."""
        than = "within" if self.holds else "above"
        return f"{self.words}: {self.measured:.3g} {self.unit}, {than} {self.key} = {self.limit:g} {self.unit}"


def claims(
    outcomes: Sequence[Outcome], params: Params, device: Literal["cuda", "cpu"], *, tiny: bool = False
) -> list[Claim]:
    """All claims that the measured checks allow to judge; tiny models say nothing about time."""
    found = {one.check.name: one.figures for one in outcomes if one.figures is not None}
    timed = [] if tiny else [*_calls(found, params), *_deadline(found, params)]
    return [*_memory(found, params, device), *timed]


def _memory(found: dict[str, Figures], params: Params, device: Literal["cuda", "cpu"]) -> Iterator[Claim]:
    key, limit = (
        ("memory.gpu_gib", params.memory.gpu_gib) if device == "cuda" else ("memory.ram_gib", params.memory.ram_gib)
    )
    for name, figures in found.items():
        yield Claim((name,), key, figures.peak_gib, limit, "GiB", f"{name}, at its peak")


def _calls(found: dict[str, Figures], params: Params) -> Iterator[Claim]:
    """Each call of a stage against its time-out; the detectors are asked one after the other."""
    times, batch = params.timeouts, params.timeouts.batch
    if one := found.get("classifier"):
        most = params.export.batch.maximum
        yield _call(("classifier",), "classifier", one.best[max(size for size in one.best if size <= most)], params)
    if "yolo" in found and "detr" in found:
        pair = [max(ms for size, ms in found[name].best.items() if size <= batch) for name in ("yolo", "detr")]
        yield _call(("yolo", "detr"), "detectors", sum(pair), params)
    for name in ("vlm", "vlm clips"):
        if one := found.get(name):
            yield _call((name,), "vlm", max(one.best.values()), params)
            if one.longest_ms is not None:
                words = f"{name}, one answer that is neither yes nor no"
                yield Claim((name,), "timeouts.vlm", one.longest_ms / 1000, times.vlm, "s", words)
    if one := found.get("ocr"):
        yield _call(("ocr",), "ocr", max(one.best.values()), params)


def _call(names: tuple[str, ...], stage: str, milliseconds: float, params: Params) -> Claim:
    limit = params.timeouts.seconds(stage)
    return Claim(
        names, f"timeouts.{stage}", milliseconds / 1000, limit, "s", f"{' and '.join(names)}, its largest call"
    )


def _deadline(found: dict[str, Figures], params: Params) -> Iterator[Claim]:
    """One picture that goes through all stages."""
    names = ("classifier", "yolo", "detr", "vlm", "ocr")
    if all(name in found and 1 in found[name].best for name in names):
        total = sum(found[name].best[1] for name in names) / 1000
        yield Claim(
            names, "serve.deadline_seconds", total, params.serve.deadline_seconds, "s", "one picture, all stages"
        )
