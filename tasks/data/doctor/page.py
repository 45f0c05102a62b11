"""The doctor's report on what was pulled: JSON for machines, a page and a sheet for people, beside the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.common.files import write_bytes, write_json
from tasks.data.doctor.findings import percent
from tasks.data.doctor.report import DoctorReport
from tasks.data.doctor.scan import small
from tasks.data.doctor.show import write_sheet
from tasks.data.schema import SPLITS, read_records, split_file

if TYPE_CHECKING:
    from PIL import Image

ANY_SIZE = 1 << 40  # the limit held when it was pulled


def write_pages(report: DoctorReport, pulled: Path, folder: Path) -> None:
    """Write doctor.json and doctor.md, and doctor.jpg where there are doubtful pictures.

    Args:
        report: on the pictures of `pulled`.
        pulled: holds a parquet file a split.
        folder: that of the metrics; its pages and pictures are shown with the stage.
    """
    sheet = folder / "doctor.jpg"
    sheet.unlink(missing_ok=True)
    digests = {doubt.sha256 for doubt in report.doubts}
    if digests:
        write_sheet(report.doubts, _pictures(pulled, digests), {}, sheet)
    write_json(folder / "doctor.json", report.document())
    write_bytes(folder / "doctor.md", _page(report).encode())


def _pictures(pulled: Path, digests: set[str]) -> dict[str, Image.Image]:
    found: dict[str, Image.Image] = {}
    for split in SPLITS:
        for record in read_records(split_file(pulled, split), ["image", "sha256"]):
            if record["sha256"] in digests:
                found[record["sha256"]] = small(record["image"]["bytes"], ANY_SIZE)
    return found


def _page(report: DoctorReport) -> str:
    counts = report.counts
    lines = ["# Dataset doctor", "", *(_finding_lines(report) or ["No findings."]), ""]
    lines += ["| | clear | roadwork | share |", "|---|---|---|---|", _row("all", counts["labels"])]
    lines += [_row(f"split {name}", found) for name, found in counts["splits"].items()]
    lines += [_row(f"source {name}", found) for name, found in counts["sources"].items()]
    constant, source = counts["constant_answer"], counts["label_from_source"]["balanced_accuracy"]
    lines += [
        "",
        f"The more frequent label as the answer: accuracy {constant['accuracy']:.3f}, MCC 0, reward "
        f"{constant['reward']:.3f}. Label from size, camera and source alone: "
        + ("too few pictures." if source is None else f"balanced accuracy {source:.2f}."),
    ]
    return "\n".join(lines) + "\n"


def _finding_lines(report: DoctorReport) -> list[str]:
    return [f"- **{one.level}, {one.check}**: {one.message}" for one in report.findings]


def _row(name: str, found: dict[str, Any]) -> str:
    share = percent(found["roadwork"] / max(found["clear"] + found["roadwork"], 1))
    return f"| {name} | {found['clear']} | {found['roadwork']} | {share} |"
