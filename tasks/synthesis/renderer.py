"""The Blender renderer: a script that runs in an environment of its own, and the revision of its code."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cascade.preprocess.image import BadImage
from cascade.process.supervisor import Supervised
from tasks.common.cache_key import cache_key
from tasks.common.files import read_json
from tasks.common.imports import ROOT
from tasks.config import SynthesizeParams
from tasks.data.pictures import decode_stored
from tasks.data.schema import DataError
from tasks.synthesis.blender_python import HELP, blender_python

# people run it by hand too; nothing of it is imported here, since Blender's module needs another numpy
SCRIPT = Path(__file__).parents[1] / "tools" / "render.py"
MODULES = ("tasks.tools.render", "tasks.synthesis.blender.*")
SHOTS = 4  # a place: two with roadworks, two without
# of the signature of `run_renderer`
Render = Callable[[SynthesizeParams, Path, Path, int, int], None]
TAIL = 2000  # characters of the renderer's last output that an error repeats


@dataclass(frozen=True)
class Renderer:
    """A script that leaves a JPEG and a JSON file a picture, the JPEG last.

    Attributes:
        script: is run by the interpreter that `tasks.synthesis.blender_python` gives.
        revision: digest of its code and of the scenes, as a commit is for a model.
    """

    script: Path
    revision: str


def our_renderer() -> Renderer:
    """The script tasks/tools/render.py with the scenes in tasks/synthesis/blender."""
    return Renderer(SCRIPT, revision())


def revision(code: Path = ROOT) -> str:
    """Digest of the code of the renderer and of the scenes, and of the renderer's dependencies.

    Args:
        code: folder that holds the packages.
    """
    return cache_key([], scripts=MODULES, root=code).digest


def picture_path(folder: Path, params: SynthesizeParams, index: int, shot: int) -> Path:
    """Where the renderer leaves a picture.

    Args:
        folder: that the renderer writes to.
        params: section `synthesize`.
        index: of the place, from 0; its number begins at `render.first`.
        shot: number of the picture of that place.
    """
    return folder / f"p{params.seed}_{params.render.first + index:04d}_{shot}.jpg"


def picture_paths(folder: Path, params: SynthesizeParams, places: int, begin: int = 0) -> list[Path]:
    """All pictures of so many places, from one with an index on."""
    indices = range(begin, begin + places)
    return [picture_path(folder, params, index, shot) for index in indices for shot in range(SHOTS)]


def command(params: SynthesizeParams, script: Path, folder: Path, places: int) -> list[str]:
    """The renderer's command line.

    Raises:
        DataError: no interpreter with bpy can be had.
    """
    return [blender_python(script), *_arguments(params, script, folder, 0, places)]


def _arguments(params: SynthesizeParams, script: Path, folder: Path, begin: int, places: int) -> list[str]:
    options = ["--first", str(params.render.first + begin), "--places", str(places), "--shots", str(SHOTS)]
    options += ["--seed", str(params.seed), "--samples", str(params.render.samples), "--out", str(folder)]
    options += ["--distances", *map(str, params.render.distances)]
    return [str(script), *options]


def run_renderer(params: SynthesizeParams, script: Path, folder: Path, lock: int, places: int) -> None:
    """Render what is missing; the renderer's progress bar goes to stderr as it comes.

    Args:
        params: section `synthesize`.
        script: of the renderer.
        folder: work folder.
        lock: descriptor that holds the folder's lock; the renderer inherits it, see `tasks.synthesis.work.workplace`.
        places: number of places.

    Raises:
        DataError: the renderer cannot be started, or fails.
    """
    remove_damaged(sorted(folder.glob("p*.jpg")))
    if all(path.is_file() for path in picture_paths(folder, params, places)):
        return
    _run(command(params, script, folder, places), lock)


def render_place(params: SynthesizeParams, python: str, script: Path, folder: Path, index: int) -> None:
    """Render what is missing of one place, in one process.

    Args:
        params: section `synthesize`.
        python: interpreter with Blender's module.
        script: of the renderer.
        folder: work folder.
        index: of the place, from 0.

    Raises:
        DataError: the renderer cannot be started, or fails.
    """
    _run([python, *_arguments(params, script, folder, index, 1), "--processes", "1"])


def _run(line: list[str], *inherited: int) -> None:
    try:
        process = Supervised(line, stderr=subprocess.PIPE, pass_fds=inherited)
    except OSError as error:
        raise DataError(f"{line[0]}: {error}. {HELP}") from None
    with process:
        output = _echo(process)
        code = process.wait()
    if code:
        raise DataError(f"the renderer failed (exit {code}): {output.strip()}\n{HELP}")


def remove_damaged(pictures: list[Path]) -> None:
    """Remove pictures that a power cut left without their facts or without their end, so that they are made again."""
    for picture in pictures:
        if picture.is_file() and not _is_whole(picture):
            picture.unlink()


def wait_for_workers(folder: Path) -> None:
    """Wait for worker processes whose renderer was killed, and which still write the same files."""
    for path in sorted(folder.glob(".core*")):
        with path.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)


def _is_whole(picture: Path) -> bool:
    try:
        facts = read_json(picture.with_suffix(".json"))
        decode_stored(picture.read_bytes())
    except (OSError, ValueError, BadImage):
        return False
    return isinstance(facts, dict) and {"label", "share", "place", "seed"} <= facts.keys()


def _echo(process: Supervised) -> str:
    assert process.stderr is not None, "a pipe was set up"  # noqa: S101
    tail = ""
    # what is there, not a full buffer: a progress bar should move
    while block := os.read(process.stderr.fileno(), 1 << 16):
        text = block.decode(errors="replace")
        sys.stderr.write(text)
        sys.stderr.flush()
        tail = (tail + text)[-TAIL:]
    return tail
