"""Pack rendered pictures into the committed sample: `python -m tasks.tools.sample var/render`.

`tasks/tools/render.py` leaves a JPEG and a JSON file a picture; here they become data/sample/*.parquet in the schema of
`tasks.data.schema`, split by place so that every kind of road and region is in every split, and a contact sheet. With
`--only train --out var/more` they become one file to train on beside the sample.
"""

from __future__ import annotations

import argparse
import io
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from tasks.common.files import write_bytes
from tasks.common.sheets import Cells, Tile, contact_sheet
from tasks.data.schema import SLICES, SPLITS, ImageRow, arrow_schema, split_file
from tasks.synthesis.rendered import rendered, to_row

SEED = 7
# places out of twenty of the same road and region
SHARES = {"challenge": 4, "pool": 2, "calibration": 3, "train": 11}
# The challenge set is fixed: it comes from the renderings with these seeds, and later ones grow the other splits.
FIRST_SEEDS = {"7", "8"}
GROWTH = {"pool": 4, "calibration": 4, "train": 12}


def assign(kinds: dict[str, tuple[str, str]], seed: int = SEED) -> dict[str, str]:
    """Give each place its split, so that every kind of road and region is in every split.

    Args:
        kinds: road and region of each place, whose name is "rendered-<seed>-<number>".
        seed: of the shuffle.
    """
    first = {place: kind for place, kind in kinds.items() if place.split("-")[1] in FIRST_SEEDS}
    later = {place: kind for place, kind in kinds.items() if place not in first}
    return _deal(first, SHARES, seed) | _deal(later, GROWTH, seed)


def _deal(kinds: dict[str, tuple[str, str]], shares: dict[str, int], seed: int) -> dict[str, str]:
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for place in sorted(kinds):
        groups[kinds[place]].append(place)
    rng = random.Random(seed)  # noqa: S311 - no secret
    turn = [split for split, share in shares.items() for _ in range(share)]
    rng.shuffle(turn)
    # the turn goes on from group to group, so that two groups of ten get what one of twenty would
    order = [place for kind in sorted(groups) for place in rng.sample(groups[kind], len(groups[kind]))]
    return {place: turn[i % len(turn)] for i, place in enumerate(order)}


def pack(folder: Path, target: Path, only: str | None = None) -> dict[str, int]:
    """Write the four parquet files of the sample, or all pictures as one split; returns the number of rows a split."""
    found = list(rendered(folder))
    dealt = assign({facts["place"]: (facts["road"], facts["region"]) for _, facts in found})
    rows = [to_row(picture, facts, only or dealt[facts["place"]]) for picture, facts in found]
    for split in [only] if only else SPLITS:
        write_split(split_file(target, split), [row for row in rows if row.split == split])
    return dict(Counter(row.split for row in rows))


def write_split(path: Path, rows: Iterable[ImageRow]) -> None:
    """Write rows as one parquet file, in one step."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    table = pa.Table.from_pylist([row.to_record() for row in rows], schema=arrow_schema())
    # JPEG bytes do not shrink further, so the columns beside them decide: zstd without a dictionary for the images
    pq.write_table(table, buffer, compression="zstd", use_dictionary=["label", "source", "place", *SLICES])
    write_bytes(path, buffer.getvalue())


def draw_sheet(folder: Path, target: Path, columns: int = 8, rows: int = 8, seed: int = SEED) -> None:
    """Draw a random choice of pictures side by side: the upper half with roadworks, the lower half without."""
    from PIL import Image

    found = list(rendered(folder))
    rng = random.Random(seed)  # noqa: S311 - no secret
    cells = Cells(width=200, height=150, columns=columns)
    halves = [[picture for picture, facts in found if facts["label"] == label] for label in (1, 0)]
    chosen = [picture for half in halves for picture in rng.sample(half, columns * rows // 2)]
    contact_sheet([Tile(Image.open(picture).resize((cells.width, cells.height))) for picture in chosen], target, cells)


def main() -> None:
    """Pack, draw the sheet and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("var/render"))
    parser.add_argument("--out", type=Path, default=Path("data/sample"))
    parser.add_argument("--sheet", type=Path, default=Path("docs/sample.jpg"))
    parser.add_argument("--only", choices=SPLITS, help="pack all pictures as this split, and draw no sheet")
    options = parser.parse_args()
    counts = pack(options.folder, options.out, options.only)
    if options.only:
        print(f"{split_file(options.out, options.only)}: {counts}")
        return
    draw_sheet(options.folder, options.sheet)
    size = sum(split_file(options.out, split).stat().st_size for split in SPLITS)
    print(f"{options.out}: {counts}, {size / 1e6:.1f} MB; {options.sheet}")


if __name__ == "__main__":
    main()
