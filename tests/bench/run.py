"""All benches as one table, against the last kept figures: `make bench`, or `python -m tests.bench.run`.

A bench that has finished for this commit, machine and models is not measured again without --again, so a run that was
ended goes on. The exit code is 1 where a ratio is more than 10 % worse than the last kept one of this kind of machine,
and where a row that was not left out by name could not be measured. The table is also written to var/bench/table.json.

What was measured is kept in tests/bench/history.jsonl, and docs/bench.md and docs/bench.svg are made from it again,
when no ratio is worse, the files are those of the commit, and nothing else was running.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tasks.common.files import write_json
from tasks.common.markdown import replace_between
from tests.bench import history
from tests.bench.history import HISTORY, Entry, Figure, HistoryError, Machine, new_rows, read_history
from tests.bench.measure import BUSY, FOLDER, Benches, NotMeasuredError, Tree
from tests.bench.plot import PLOT, draw
from tests.bench.rows import BENCHES, Bench
from tests.bench.table import markdown, terminal
from tests.bench.verdict import Line, make_lines, problems, reached, regressed

PAGE, BEGIN, END = Path("docs/bench.md"), "<!-- bench: begin -->", "<!-- bench: end -->"
WIDTH = 170


def main(words: Sequence[str] | None = None, benches: Sequence[Bench] = BENCHES) -> int:
    """Measure, show, keep; gives the exit code."""
    options = _options(words, benches)
    try:
        kept = read_history()
        if options.page:
            write_page(kept, benches)
            return 0
        return _run(options, benches, kept, Tree.here())
    except (HistoryError, NotMeasuredError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("ended; without changes to the files the same command goes on from here")


def _run(options: argparse.Namespace, benches: Sequence[Bench], kept: list[Entry], tree: Tree) -> int:
    machine = Machine.this()
    chosen = [one for one in benches if _is_chosen(one, options)]
    minutes = sum(one.minutes * (options.repeats or one.repeats) for one in chosen)
    _say(f"{', '.join(one.name for one in chosen)}: about {minutes:.0f} min where nothing else runs")
    found, reasons, busy = _measure(Benches(tree, machine, again=options.again, say=_say), chosen, options.repeats)
    lines = make_lines(benches, found, reasons, [one.name for one in chosen], kept, machine.kind, tree.commit)
    Console(width=WIDTH).print(terminal(lines, machine, f"{tree.commit[:8]}{' with changes' if tree.dirty else ''}"))
    write_json(FOLDER / "table.json", _document(lines, tree, machine, busy))
    failed = problems(lines, options.accept)
    for problem in failed:
        print(f"failed: {problem}", file=sys.stderr)
    worse = any(regressed(line) and line.row.name not in options.accept for line in lines)
    if why := _not_kept(tree, options.repeats, worse=worse):
        print(f"not kept in {HISTORY}: {why}")
    else:
        _keep(kept, [line for line in lines if not _disturbed(line, busy)], tree, machine, benches)
        _name_disturbed([bench.name for bench in chosen if busy.get(bench.name, 0.0) > BUSY])
    return 1 if failed else 0


def _options(words: Sequence[str] | None, benches: Sequence[Bench]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names, rows = [bench.name for bench in benches], [row.name for bench in benches for row in bench.rows]
    on_demand = [bench.name for bench in benches if bench.on_demand]
    parser.add_argument("--only", nargs="+", choices=names, metavar="BENCH", help=f"no others; of {', '.join(names)}")
    parser.add_argument("--without", nargs="+", choices=names, default=[], metavar="BENCH", help="all but these")
    parser.add_argument(
        "--with",
        nargs="+",
        choices=on_demand,
        default=[],
        dest="also",
        metavar="BENCH",
        help=f"these too; of {', '.join(on_demand)}",
    )
    parser.add_argument("--again", action="store_true", help="measure also what was measured for this commit")
    parser.add_argument(
        "--accept", nargs="+", choices=rows, default=[], metavar="ROW", help="rows that may be worse than before"
    )
    parser.add_argument("--repeats", type=int, help="processes of each bench; its figures are then not kept")
    parser.add_argument("--page", action="store_true", help=f"only write {PAGE} and {PLOT} from the history")
    return parser.parse_args(words)


def _is_chosen(bench: Bench, options: argparse.Namespace) -> bool:
    if bench.name in options.without:
        return False
    if options.only:
        return bench.name in [*options.only, *options.also]
    return not bench.on_demand or bench.name in options.also


def _say(line: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", flush=True)


def _measure(
    runner: Benches, chosen: Sequence[Bench], repeats: int | None
) -> tuple[dict[str, Figure], dict[str, str], dict[str, float]]:
    """Figures by row; by bench why it has none, or the largest share of the cores that others used."""
    found: dict[str, Figure] = {}
    reasons: dict[str, str] = {}
    busy: dict[str, float] = {}
    for bench in chosen:
        try:
            samples, busy[bench.name] = runner.run(bench, repeats or bench.repeats)
        except NotMeasuredError as error:
            reasons[bench.name] = str(error)
            _say(f"{bench.name}: not measured: {error}")
            continue
        rows = [row for row in bench.rows if samples.get(row.name)]
        found |= {row.name: Figure.of(samples[row.name], row.unit, row.target) for row in rows}
    return found, reasons, busy


def _document(lines: Sequence[Line], tree: Tree, machine: Machine, busy: dict[str, float]) -> dict[str, object]:
    rows = {
        line.row.name: {
            "state": line.state,
            "reason": line.reason,
            "peer": line.row.peer,
            "better": line.row.better,
            "reached": reached(line),
            "regressed": regressed(line),
            "figure": line.figure and line.figure.model_dump(),
            "before": line.before and {"commit": line.before[0].commit, **line.before[1].model_dump()},
        }
        for line in lines
    }
    head = {"commit": tree.commit, "changes": tree.dirty, "busy": busy, "machine": machine.model_dump()}
    return {**head, "rows": rows}


def _not_kept(tree: Tree, repeats: int | None, *, worse: bool) -> str:
    """Why figures are not kept; empty where they are."""
    if worse:
        return "a ratio is worse than before"
    if tree.dirty:
        return f"files differ from {tree.commit[:8]}, or no git has them; commit them first"
    if repeats:
        return "--repeats was given"
    return ""


def _disturbed(line: Line, busy: dict[str, float]) -> bool:
    return busy.get(line.bench.name, 0.0) > BUSY


def _name_disturbed(names: list[str]) -> None:
    if names:
        print(
            f"not kept in {HISTORY}: rows of {', '.join(names)}, since others used more than {BUSY:.0%} of the cores; "
            f'when the machine is idle: make bench ARGS="--only {" ".join(names)} --again"'
        )


def _keep(kept: list[Entry], lines: Sequence[Line], tree: Tree, machine: Machine, benches: Sequence[Bench]) -> None:
    """Add an entry of what is new, and make the page again."""
    measured = {line.row.name: line.figure for line in lines if line.state == "measured" and line.figure}
    rows = new_rows(kept, machine.kind, tree.commit, measured)
    if not rows:
        return
    accepted = tuple(line.row.name for line in lines if line.row.name in rows and regressed(line))
    date = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    entry = Entry(commit=tree.commit, date=date, machine=machine, accepted=accepted, rows=rows)
    history.append(entry)
    write_page([*kept, entry], benches)
    print(f"kept {len(rows)} rows in {HISTORY}; commit it with {PAGE} and {PLOT}")


def write_page(entries: list[Entry], benches: Sequence[Bench], page: Path = PAGE, plot: Path = PLOT) -> None:
    """Write the last figures into the page, and the plot beside it where there is any."""
    text = markdown(entries, benches)
    if draw(entries, benches, plot):
        text += f"\n\n![ratios over commits]({plot.name})"
    replace_between(page, BEGIN, END, text)


if __name__ == "__main__":
    sys.exit(main())
