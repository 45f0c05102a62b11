"""Paste rendered works into photographs of clear streets: `python -m tasks.tools.paste --cutouts var/cutouts`.

Reads the clear photographs of data/pulled/train.parquet and the cut-outs of `tasks/tools/cutouts.py`; writes
train.parquet, which `adapt.extra` trains on, and a contact sheet. docs/synthesis.md says what is pasted how.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.data.schema import DataError, split_file
from tasks.synthesis.paste import PasteSettings, clear_photographs, find_cutouts, paste_all
from tasks.tools.sample import write_split

if TYPE_CHECKING:
    from tasks.data.schema import ImageRow


def _horizons(pairs: Sequence[str]) -> dict[str, float]:
    """Read 0.5 or SOURCE=0.5; the first is for all other sources."""
    found = {"": 0.5}
    for pair in pairs:
        name, _, value = pair.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise DataError(f"--horizon {pair}: {value!r} is no share of the height, such as 0.5") from error
    return found


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
    try:
        horizons = _horizons(options.horizon)
        settings = PasteSettings(horizons, frozenset(options.without), options.min_share, options.seed)
        photographs = clear_photographs(options.photographs, settings)
        rows = list(paste_all(photographs, find_cutouts(options.cutouts), settings))
    except DataError as error:
        print(f"paste: {error}", file=sys.stderr)
        return 1
    file = split_file(options.out, "train")
    write_split(file, rows)
    _sheet(rows, options.out / "sheet.jpg", settings.seed)
    counts = dict(Counter(row.label for row in rows))
    print(f"{file}: {counts} of {len(photographs)} photographs; {options.out / 'sheet.jpg'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
