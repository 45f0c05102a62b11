"""What batch prediction reads: a folder of images and clips, parquet files, or both, cut into pieces.

A piece is what one task reads from its beginning to its end: some files, or a row group of a parquet file. Where the
cuts lie depends on the names and the files alone, and a file that is added moves only the cuts beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.labelled.files import SIDECARS, LeftOut, files_below, not_a_file, picture_problem, printable
from tasks.data.schema import DataError, check_columns, read_schema

if TYPE_CHECKING:
    import pyarrow as pa

# files of a piece at most, in shards
MOST = 4


@dataclass(frozen=True)
class Piece:
    """Files, or a row group.

    Attributes:
        number: place in the input.
        names: paths below the input's folder, one for a row group.
        pictures: how many it holds.
        group: number of the row group; None for files.
        first: number of its first row in the file.
    """

    number: int
    names: tuple[str, ...]
    pictures: int
    group: int | None = None
    first: int = 0


@dataclass(frozen=True)
class Input:
    """A folder and its pieces.

    Attributes:
        root: names are relative to it.
        pieces: in order of paths.
        problems: files and folders that cannot be read, a line each.
    """

    root: Path
    pieces: list[Piece] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_pieces(source: Path, shard: int) -> Input:
    """List what a folder or a file holds; reads names and the footers of parquet files, no pictures.

    Annotations and notes beside the pictures are passed over; whatever else is there is a picture or will be refused.

    Args:
        source: a folder, a parquet file, or an image or clip.
        shard: pictures of a shard.

    Raises:
        DataError: it does not exist, or holds no file.
    """
    if source.is_file():
        found, files = Input(source.parent), iter([source])
    elif source.is_dir():
        left_out: list[LeftOut] = []
        found, files = Input(source), files_below(source, left_out)
    else:
        raise DataError(f"{source}: no such file or folder")
    loose: list[str] = []
    for path in files:
        if path.suffix == ".parquet" and not not_a_file(path):
            _add_groups(found, path)
        elif path == source or not _is_note(path):
            loose.append(str(path.relative_to(found.root)))
    for names in cut(loose, shard):
        found.pieces.append(Piece(len(found.pieces), names, len(names)))
    if source.is_dir():
        found.problems.extend(one.message for one in left_out if one.reason == "unreadable")
    if not found.pieces and not found.problems:
        raise DataError(f"{source}: holds no image, clip or parquet file")
    return found


def _is_note(path: Path) -> bool:
    return path.suffix.lower() in SIDECARS and (bool(not_a_file(path)) or picture_problem(path) is not None)


def _add_groups(found: Input, path: Path) -> None:
    """Add a piece a row group; a file that cannot be read is a problem and costs no other."""
    import pyarrow.parquet as pq

    try:
        check_image(path, read_schema(path))
        metadata = pq.read_metadata(path)
    except DataError as error:
        found.problems.append(printable(str(error)))
        return
    name, first = str(path.relative_to(found.root)), 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        found.pieces.append(Piece(len(found.pieces), (name,), rows, group, first))
        first += rows


def check_image(path: Path, schema: pa.Schema) -> None:
    """Refuse a parquet file without a usable column `image`; labels are not needed.

    Raises:
        DataError: names what is there instead.
    """
    import pyarrow as pa

    if "image" not in schema.names:
        raise DataError(f"{path}: missing column 'image'; it has {', '.join(schema.names)}")
    check_columns(path, pa.schema([schema.field("image"), pa.field("label", pa.int64())]))


def cut(names: Iterable[str], shard: int) -> Iterator[tuple[str, ...]]:
    """Cut names into pieces behind those whose digest says so, one of `shard`: one that is added moves no other cut.

    Only where no cut would come for `MOST` shards there is one by number.
    """
    piece: list[str] = []
    for name in names:
        piece.append(name)
        digest = sha256(name.encode(errors="surrogateescape")).digest()
        if len(piece) >= MOST * shard or int.from_bytes(digest[:8]) % shard == 0:
            yield tuple(piece)
            piece = []
    if piece:
        yield tuple(piece)
