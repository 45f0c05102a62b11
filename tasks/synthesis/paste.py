"""Paste rendered works into photographs of clear streets: which cut-out goes into which photograph.

Photographs with works are rare, those of clear streets are not. Each clear photograph gives one with works, and one
with look-alikes or with nothing, encoded alike: neither the camera nor the traces of pasting tell the label. The rows
keep the place of their photograph, so that they stay in its split.
`tasks/tools/cutouts.py` renders the cut-outs, `tasks/tools/paste.py` is the command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.common.files import read_json, sha256
from tasks.data.schema import PASTED, SLICES, DataError, ImageRow, read_records
from tasks.synthesis.rendered import describe

if TYPE_CHECKING:
    from numpy.random import Generator

    from tasks.synthesis.composite import Composite, Cutout

GENERATED = ("rendered", "sdxl", PASTED)  # sources that are no photographs
COLUMNS = ["image", "label", "source", "place", "sha256", *SLICES]
TRIES = 6  # cut-outs for one photograph, until the works are large enough


@dataclass(frozen=True)
class PasteSettings:
    """What is pasted into what.

    Attributes:
        horizon: row of the horizon as a share of a photograph's height; by source where it differs from "".
        without: sources that are left alone.
        min_share: of a photograph that works cover at least.
        seed: of all choices.
    """

    horizon: dict[str, float] = field(default_factory=lambda: {"": 0.5})
    without: frozenset[str] = frozenset()
    min_share: float = 0.006
    seed: int = 51


def find_cutouts(folder: Path) -> dict[int, list[Path]]:
    """The cut-outs of a folder by label.

    Raises:
        DataError: one of the labels has none.
    """
    found: dict[int, list[Path]] = {0: [], 1: []}
    for path in sorted(folder.glob("c*.png")):
        found[read_json(path.with_suffix(".json"))["label"]].append(path)
    if not all(found.values()):
        raise DataError(
            f"{folder}: {len(found[1])} cut-outs of works and {len(found[0])} of look-alikes, both are needed; "
            "`uv run python -m tasks.tools.blender tasks/tools/cutouts.py` renders them"
        )
    return found


def paste_all(
    photographs: Sequence[dict[str, Any]], cutouts: dict[int, list[Path]], settings: PasteSettings
) -> Iterator[ImageRow]:
    """Give two rows a photograph: works, then look-alikes or nothing; none where works are too small in each try.

    Args:
        photographs: rows of clear streets with the columns COLUMNS.
        cutouts: by label.
        settings: see there.
    """
    import numpy as np

    for row in photographs:
        random = np.random.default_rng(int(sha256(f"{settings.seed} {row['sha256']}".encode())[:16], 16))
        works = _try(row, cutouts[1], settings, random)
        if works is not None:
            yield works
            yield _other(row, cutouts[0], settings, random)


def clear_photographs(files: Sequence[Path], settings: PasteSettings) -> list[dict[str, Any]]:
    """Read the clear photographs of parquet files.

    Raises:
        DataError: there are none, or the settings name a source that none is of.
    """
    rows = [row for file in files for row in read_records(file, columns=COLUMNS)]
    unknown = {*settings.without, *settings.horizon} - {"", *(row["source"] for row in rows)}
    if unknown:
        raise DataError(f"{', '.join(map(str, files))}: no photograph is of the source {sorted(unknown)[0]!r}")
    found = [row for row in rows if row["label"] == 0 and _is_photograph(row["source"], settings)]
    if not found:
        raise DataError(f"{', '.join(map(str, files))}: no clear photographs; pull.beside adds some to the renderings")
    return found


def _is_photograph(source: str, settings: PasteSettings) -> bool:
    return source.partition("/")[0] not in GENERATED and source not in settings.without


def _try(row: dict[str, Any], paths: list[Path], settings: PasteSettings, random: Generator) -> ImageRow | None:
    """A photograph with works; the first cut-out that is large enough in it."""
    for _ in range(TRIES):
        path = paths[int(random.integers(len(paths)))]
        made = _paste(row, load_cutout(path), settings, random)
        if made.objects and made.share >= settings.min_share:
            return _row(row, made, read_json(path.with_suffix(".json")), f"works in {path.stem}")
    return None


def _other(row: dict[str, Any], paths: list[Path], settings: PasteSettings, random: Generator) -> ImageRow:
    """The same photograph with look-alikes, or two times out of five with nothing."""
    cutout = load_cutout(paths[int(random.integers(len(paths)))]) if random.random() < 0.6 else None
    return _row(row, _paste(row, cutout, settings, random), {"label": 0}, "clear")


def load_cutout(path: Path) -> Cutout:
    """Read a cut-out and its description."""
    from PIL import Image

    from tasks.synthesis.composite import Cutout

    facts = read_json(path.with_suffix(".json"))
    with Image.open(path) as image:
        return Cutout(image.convert("RGBA"), facts["label"], tuple(facts["objects"]))


def _paste(row: dict[str, Any], cutout: Cutout | None, settings: PasteSettings, random: Generator) -> Composite:
    import io

    from PIL import Image

    from tasks.synthesis.composite import draw_placement, paste

    data = row["image"]["bytes"]
    with Image.open(io.BytesIO(data)) as image:
        size = image.size
    horizon = settings.horizon.get(row["source"], settings.horizon[""])
    return paste(data, cutout, draw_placement(cutout, size, horizon, random) if cutout else None, random)


def _row(photograph: dict[str, Any], made: Composite, facts: dict[str, Any], name: str) -> ImageRow:
    slices = {key: photograph[key] for key in SLICES if photograph.get(key)}
    return ImageRow(
        data=made.data,
        name=f"{photograph['sha256'][:12]} {name}",
        label=facts["label"],
        sha256=sha256(made.data),
        place=photograph["place"],
        split="train",
        scene_description=describe({**facts, "objects": made.objects}),
        source=f"{PASTED}/{photograph['source']}",
        objects=made.objects if facts["label"] else (),
        slices=slices,
    )
