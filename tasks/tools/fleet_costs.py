"""What a fleet's frames cost by measured rates: `python -m tasks.tools.fleet_costs` writes the table of docs/scale.md.

Rates are those of docs/results.md and docs/mining.md; a figure measured anew is changed here. All else is extrapolated,
by the formula beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PAGE = Path("docs/scale.md")
BEGIN, END = "<!-- costs: begin -->", "<!-- costs: end -->"
SIZES = (1_000_000, 10_000_000, 100_000_000)  # frames a day
DAY = 86_400
THREADS = 2  # of the machine that was measured; both are taken to be busy all the time, so cores are at most so many
# ms a frame on it, alone: stage 1 in int8 with preprocessing, its backbone in torch fp32, later stages of the cascade
CLASSIFIER_MS, EMBED_MS, DETECTORS_MS, VLM_MS, OCR_MS = 22.3, 56.0, 75.0, 332.0, 88.0
LARGE_MS = 404.0  # stage 1 of `gpu24`, DINOv2-L, on the same two cores
UNDECIDED = 0.21  # of the challenge views after stage 1 (reports/select_stages/metrics.json)
FRAME_BYTES, VECTOR_BYTES = 55_241, 2 * 1152  # mean of 1,708 photographs; float16
# processor seconds of a selection: of 100,000 and 1,000,000 embeddings (docs/mining.md)
SELECT = {100_000: 9.5, 1_000_000: 11.4}
PAGES_GB = 2.3  # of a million embeddings, mapped


def cores(frames: int, milliseconds: float, share: float = 1.0) -> float:
    """Cores that are busy all day; `share` of the frames comes there."""
    return frames * share / DAY * THREADS * milliseconds / 1000


def select_seconds(frames: int) -> float:
    """Processor seconds of one selection over a day's frames, on the straight line through both measured sizes."""
    (small, low), (large, high) = SELECT.items()
    return low + (frames - small) * (high - low) / (large - small)


def rows() -> list[tuple[str, str, list[str]]]:
    """What, the formula, and the figure at each size."""
    every: list[tuple[str, str, Callable[[int], float]]] = [
        ("frames a second, mean", "frames / 86,400", lambda n: n / DAY),
        ("serve, as shipped: cores of stage 1", f"2 x {CLASSIFIER_MS} ms", lambda n: cores(n, CLASSIFIER_MS)),
        (
            "serve, all stages on: cores of detectors, at most",
            f"{UNDECIDED} x 2 x {DETECTORS_MS:.0f} ms",
            lambda n: cores(n, DETECTORS_MS, UNDECIDED),
        ),
        ("of the vlm, at most", f"{UNDECIDED} x 2 x {VLM_MS:.0f} ms", lambda n: cores(n, VLM_MS, UNDECIDED)),
        ("of the ocr, at most", f"{UNDECIDED} x 2 x {OCR_MS:.0f} ms", lambda n: cores(n, OCR_MS, UNDECIDED)),
        ("serve with DINOv2-L on processors: cores", f"2 x {LARGE_MS:.0f} ms", lambda n: cores(n, LARGE_MS)),
        ("embed every frame: cores", f"2 x {EMBED_MS:.0f} ms", lambda n: cores(n, EMBED_MS)),
        ("frames kept whole: GB a day", f"{FRAME_BYTES:,} bytes", lambda n: n * FRAME_BYTES / 1e9),
        ("embeddings: GB a day", f"{VECTOR_BYTES:,} bytes", lambda n: n * VECTOR_BYTES / 1e9),
        ("mine: processor seconds of a selection", "line through 100,000 and 1,000,000", select_seconds),
        ("mine: GB of mapped pages", f"{PAGES_GB} GB a million", lambda n: n / 1e6 * PAGES_GB),
    ]
    return [(what, formula, [f"{of(size):,.2g}" if of(size) < 10 else f"{of(size):,.0f}" for size in SIZES])
            for what, formula, of in every]  # fmt: skip


def table() -> str:
    """The table as Markdown."""
    head = ["", "a frame", *(f"{size // 1_000_000} million a day" for size in SIZES)]
    lines = [head, ["---"] * len(head), *([what, formula, *figures] for what, formula, figures in rows())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(text: str) -> str:
    """A page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
