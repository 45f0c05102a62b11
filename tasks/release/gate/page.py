"""The report as a page: one HTML file that needs no other, with plots and pictures inside."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.probability import CUT, LABELS
from cascade.release.store import Release, read_classifier
from tasks.common.files import write_bytes
from tasks.config import Params
from tasks.release.gate.cases import broken
from tasks.release.gate.challenge import Challenge, view_pixels
from tasks.release.gate.comparison import Compared
from tasks.release.gate.report import GateReport
from tasks.release.gate.words import NAMES, plain, reward_change, signed, title

TEMPLATE = Path(__file__).with_name("page.html.jinja")
SIDE, QUALITY = 176, 80  # px and JPEG quality of a picture in the page


def write_page(
    report: GateReport,
    compared: Compared | None,
    challenge: Challenge | None,
    challenger: Release,
    params: Params,
    path: Path,
) -> None:
    """Write the page.

    Args:
        report: of the gate.
        compared: the comparison behind it; None where there was none, and then there are neither plots nor pictures.
        challenge: that was compared on.
        challenger: whose input size the pictures have.
        params: of the project.
        path: the file.
    """
    plots: dict[str, str] = {}
    pictures: list[dict[str, Any]] = []
    if compared is not None and challenge is not None:
        from tasks.release.gate.plots import draw_plots

        plots = {name: _uri("png", data) for name, data in draw_plots(report, compared).items()}
        pictures = _pictures(report, challenge, challenger, params)
    write_bytes(path, render(report, plots, pictures).encode())


def render(report: GateReport, plots: dict[str, str], pictures: list[dict[str, Any]]) -> str:
    """Give the page as text.

    Args:
        report: of the gate.
        plots: `data:` addresses by caption.
        pictures: `image` (a `data:` address) and `change` of each.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        report=report,
        title=title(report),
        reward_change=reward_change(report),
        plots=plots,
        pictures=pictures,
        names=NAMES,
        labels=LABELS,
        plain=plain,
        signed=signed,
        answer=lambda p: LABELS[int(p > CUT)],
        cases=[("golden pictures", report.golden), ("hard cases", report.must_pass)],
        broken=broken,
    )


def _pictures(report: GateReport, challenge: Challenge, challenger: Release, params: Params) -> list[dict[str, Any]]:
    """The views with another answer, those with the largest difference: pictures of lost answers first."""
    order = sorted(report.changes, key=lambda one: (one.gained, -abs(one.challenger - one.champion)))
    chosen = {one.index: one for one in order[: params.gate.pictures]}
    size = read_classifier(challenger.folder).size
    made = {
        index: _uri("jpeg", _jpeg(pixels))
        for index, pixels in view_pixels(challenge, list(chosen), seed=params.validate_.seed, size=size)
    }
    return [{"image": made[index], "change": change} for index, change in chosen.items()]


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
