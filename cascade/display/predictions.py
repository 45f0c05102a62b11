"""Predictions on a terminal: one line a picture or clip, and the stages as a table. All of it fits into 80 columns."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import shorten

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cascade.core.cascade import Prediction
from cascade.display.text import printable, shorten_middle
from cascade.stages.base import StageResult
from cascade.video.clip import ClipPrediction

# columns that label, probability, stage and milliseconds take behind the path, with the gaps between them
FIGURES = 40
MIN_PATH = 16
# characters of the words that a stage read or said
WORDS = 60
# characters of a timeline's longest bar
BAR = 24


def path_width(paths: Iterable[str], width: int) -> int:
    """Columns for the paths of a run, so that its lines are aligned.

    Args:
        paths: all that will be printed.
        width: of the terminal, columns.
    """
    longest = max((cell_len(printable(path)) for path in paths), default=0)
    return min(longest, max(width - FIGURES, MIN_PATH))


def prediction_line(path: str, prediction: Prediction | ClipPrediction, width: int) -> str:
    """Give path, label, probability, the stage that decided, milliseconds and what was odd about the file.

    The path takes `width` columns; what was odd stands on lines of its own.
    """
    name = set_cell_size(shorten_middle(printable(path), width), width)
    figures = f"{prediction.label:<8}  {prediction.probability:.3f}  {prediction.decided_by:<10}"
    return f"{name}  {figures}  {prediction.milliseconds:>6.0f} ms{_remarks(prediction)}"


def _remarks(prediction: Prediction | ClipPrediction) -> str:
    if isinstance(prediction, Prediction):
        return "".join(f"\n  {note}" for note in prediction.notes)
    return f"\n  {prediction.frames.damage}" if prediction.frames.damage else ""


def trace_tables(prediction: Prediction | ClipPrediction) -> list[RenderableType]:
    """The stages of a picture; of a clip the timeline, and the stages of the frame that stands for it."""
    if isinstance(prediction, Prediction):
        return [stage_table(prediction.stages), ""]
    frame = f"  the frame at {prediction.frame_seconds:.1f} s, which stands for the clip:"
    return [timeline_table(prediction), frame, stage_table(prediction.frame.stages), ""]


def stage_table(stages: Iterable[StageResult]) -> Table:
    """One row a stage: its probability, verdict or why it was skipped, and what it saw."""
    table = _table("stage", "p", "verdict", "saw", "ms")
    table.columns[-1].justify = "right"
    for result in stages:
        p = "" if result.probability is None else f"{result.probability:.3f}"
        verdict = f"skipped: {result.skipped}" if result.skipped else result.verdict
        table.add_row(result.stage, p, verdict, Text(saw(result), overflow="fold"), f"{result.milliseconds:.0f}")
    return table


def timeline_table(clip: ClipPrediction) -> Table:
    """One row a frame: its own probability, and the one pooled over its neighbours."""
    table = _table("s", "frame", "pooled", "", "stage")
    for moment in clip.timeline:
        figures = f"{moment.seconds:.1f}", f"{moment.probability:.3f}", f"{moment.pooled:.3f}"
        table.add_row(*figures, "#" * round(moment.pooled * BAR), moment.decided_by)
    return table


def saw(result: StageResult) -> str:
    """What a stage saw, in a few words."""
    summary, said, lines = (result.detail.get(key) for key in ("summary", "said", "lines"))
    if isinstance(summary, str):
        return printable(summary.removeprefix(f"{result.stage} "))
    if said:
        return f'says "{_words(str(said))}"'
    if isinstance(lines, list):
        texts = [str(line["text"]) for line in lines if isinstance(line, dict) and "text" in line]
        return f'reads "{_words(" | ".join(texts))}"' if texts else "reads no text"
    views = result.detail.get("views")
    return f"mean of {views} views" if views else ""


def _words(text: str) -> str:
    return shorten(printable(text), WORDS, placeholder="...")


def _table(*columns: str) -> Table:
    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False)
    table.columns[0].no_wrap = True
    return table
