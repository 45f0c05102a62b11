"""Rendering on Ray: a place a task, whose pictures come back to the work folder of the caller.

A place depends on its number and on the settings alone, and each is rendered by a process of its own, so the pictures
are those of a local run.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from tqdm import tqdm

from tasks.common.files import write_bytes
from tasks.config import SynthesizeParams
from tasks.config.scale import ScaleParams
from tasks.data.schema import DataError
from tasks.scale.engine import run_items
from tasks.synthesis.blender_python import blender_python
from tasks.synthesis.renderer import SHOTS, Render, picture_paths, remove_damaged, render_place, run_renderer


@dataclass(frozen=True)
class Rendered:
    """A picture and its facts, as the renderer left them."""

    name: str
    picture: bytes
    facts: bytes


class PlaceRenderer:
    """A worker: renders places into a folder of its machine, and hands their files over.

    Args:
        params: section `synthesize`.
        python: interpreter with Blender's module.
        script: of the renderer.
        name: of the work folder; actors of one machine share one of that name, where each takes a core of its own.
    """

    def __init__(self, params: SynthesizeParams, python: str, script: Path, name: str) -> None:
        self._params, self._python, self._script = params, python, script
        self._folder = Path(tempfile.gettempdir()) / f"streetvision-render-{os.getuid()}" / name

    def __enter__(self) -> Self:
        ours = self._folder.parent
        ours.mkdir(mode=0o700, exist_ok=True)
        if ours.is_symlink() or ours.stat().st_uid != os.getuid():
            raise DataError(f"{ours}: belongs to somebody else; remove it")
        self._folder.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, place: int) -> Iterator[Rendered]:
        """Render a place, by its number from `render.first` on, and give its pictures.

        Raises:
            DataError: the renderer cannot be started, or fails.
        """
        expected = picture_paths(self._folder, self._params, 1, place)
        remove_damaged(expected)
        render_place(self._params, self._python, self._script, self._folder, place)
        for path in filter(Path.is_file, expected):
            yield Rendered(path.name, path.read_bytes(), path.with_suffix(".json").read_bytes())
        for path in expected:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)


def rendering_on(scale: ScaleParams) -> Render:
    """What renders on this engine; it has the signature of `run_renderer`, which is the local one."""
    return partial(_render, scale) if scale.engine == "ray" else run_renderer


def _render(scale: ScaleParams, params: SynthesizeParams, script: Path, folder: Path, lock: int, places: int) -> None:
    """Render the places that have a picture missing; each is kept as soon as it is there.

    The caller's process holds `lock` itself, and nobody else writes into the folder.
    """
    remove_damaged(sorted(folder.glob("p*.jpg")))
    missing = [place for place in range(places) if not all(map(Path.is_file, picture_paths(folder, params, 1, place)))]
    if not missing:
        return
    make = partial(PlaceRenderer, params, str(Path(blender_python(script)).absolute()), script.resolve(), folder.name)
    with tqdm(total=len(missing), unit="place", disable=None) as bar:
        for one in run_items(scale, make, missing):
            write_bytes((folder / one.name).with_suffix(".json"), one.facts)
            write_bytes(folder / one.name, one.picture)
            bar.update(1 / SHOTS)
