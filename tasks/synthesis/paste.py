"""Paste rendered works into photographs of clear streets: `python -m tasks.synthesis.paste --cutouts var/cutouts`.

Photographs with works are rare, those of clear streets are not. Each clear photograph of data/pulled/train.parquet
gives one with works, and one with look-alikes or with nothing, encoded alike: neither the camera nor the traces of
pasting tell the label. The rows keep the place of their photograph, so that they stay in its split.
`tasks/tools/cutouts.py` renders the cut-outs; `adapt.extra` trains on the file.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.common.files import read_json, sha256
from tasks.data.schema import SLICES, DataError, ImageRow, read_records
from tasks.synthesis.rendered import describe

if TYPE_CHECKING:
    from numpy.random import Generator

    from tasks.synthesis.composite import Composite, Cutout

GENERATED = ("rendered", "sdxl", "pasted")  # sources that are no photographs
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
            "`uv run --script tasks/tools/cutouts.py` renders them"
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
        DataError: there are none.
    """
    rows = [row for file in files for row in read_records(file, columns=COLUMNS)]
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
        source=f"pasted/{photograph['source']}",
        objects=made.objects if facts["label"] else (),
        slices=slices,
    )


def _horizons(pairs: Sequence[str]) -> dict[str, float]:
    """Read 0.5 or SOURCE=0.5; the first is for all other sources."""
    return {"": 0.5} | {name: float(value) for name, _, value in (pair.rpartition("=") for pair in pairs)}


def _sheet(rows: Sequence[ImageRow], path: Path, seed: int, most: int = 48) -> None:
    """Draw a seeded choice, works framed orange and clear streets blue."""
    import random

    from PIL import ImageOps

    from tasks.common.sheets import Tile, contact_sheet
    from tasks.data.pictures import decode_stored
    from tasks.synthesis.sheet import BLUE, CELLS, INK, ORANGE

    chosen = random.Random(seed).sample(rows, min(most, len(rows)))  # noqa: S311 - no secret
    tiles = [
        Tile(
            ImageOps.fit(decode_stored(row.data), (CELLS.width, CELLS.height)),
            row.source,
            ORANGE if row.label else BLUE,
        )
        for row in chosen
    ]
    contact_sheet(tiles, path, CELLS, ink=INK)


def main(arguments: list[str] | None = None) -> int:
    """Paste, write the file and a contact sheet, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="*", default=[Path("data/pulled/train.parquet")])
    parser.add_argument("--cutouts", type=Path, default=Path("var/cutouts"))
    parser.add_argument("--out", type=Path, default=Path("var/pasted"))
    parser.add_argument("--horizon", nargs="+", default=[], metavar="[SOURCE=]SHARE", help="of the height; default 0.5")
    parser.add_argument("--without", nargs="+", default=[], metavar="SOURCE", help="sources to leave alone")
    parser.add_argument("--min-share", type=float, default=0.006, help="of a photograph that works cover at least")
    parser.add_argument("--seed", type=int, default=51)
    options = parser.parse_args(arguments)
    from tasks.tools.sample import write_split

    settings = PasteSettings(_horizons(options.horizon), frozenset(options.without), options.min_share, options.seed)
    try:
        photographs = clear_photographs(options.photographs, settings)
        rows = list(paste_all(photographs, find_cutouts(options.cutouts), settings))
    except DataError as error:
        print(f"paste: {error}", file=sys.stderr)
        return 1
    write_split(options.out / "train.parquet", rows)
    _sheet(rows, options.out / "sheet.jpg", settings.seed)
    counts = dict(Counter(row.label for row in rows))
    print(f"{options.out / 'train.parquet'}: {counts} of {len(photographs)} photographs; {options.out / 'sheet.jpg'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
