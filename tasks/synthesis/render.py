"""Engine `render`: new Blender scenes, which the renderer makes in an environment of its own."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.common.cache_key import cache_key
from tasks.config import SynthesizeParams
from tasks.data.schema import DataError
from tasks.synthesis.blender_python import BPY
from tasks.synthesis.rendered import rendered, to_row
from tasks.synthesis.renderer import (
    SHOTS,
    Render,
    Renderer,
    our_renderer,
    picture_paths,
    run_renderer,
    wait_for_workers,
)
from tasks.synthesis.work import WORK, SyntheticImage, workplace


@dataclass
class RenderedImages:
    """Pictures in the order of their names, and how many were left out, by reason."""

    pictures: list[SyntheticImage] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    places: int = 0

    def count(self, label: int) -> int:
        """Number of pictures with a label."""
        return sum(picture.row.label == label for picture in self.pictures)


def make(
    params: SynthesizeParams, root: Path = WORK, renderer: Renderer | None = None, run: Render = run_renderer
) -> tuple[list[SyntheticImage], dict[str, Any]]:
    """Render places until both counts are reached, or `render.max_places` are used.

    Args:
        params: section `synthesize`.
        root: where work folders lie.
        renderer: by default ours.
        run: renders on this machine, or elsewhere (`tasks.scale.synthesize.rendering_on`).

    Returns:
        The pictures, and what the manifest says of the engine.

    Raises:
        DataError: the renderer cannot run, or its places are used up and there is no picture of a label that is
            wanted.
    """
    renderer = renderer or our_renderer()
    name = work_name(params, renderer)
    wanted = {1: params.num_positive, 0: params.num_negative}
    with workplace(root, name) as (folder, lock):
        wait_for_workers(folder)
        made = _render(params, renderer, folder, lock, wanted, run)
    _check(made, wanted, params)
    return made.pictures, _facts(params, renderer, made) | {"work": name}


def work_name(params: SynthesizeParams, renderer: Renderer) -> str:
    """The work folder of these settings; counts and slices choose among its pictures and are no part of its name."""
    settings = {"seed": params.seed, "samples": params.render.samples, "distances": params.render.distances}
    return cache_key([], inputs={"renderer": renderer.revision}, params=settings).short


def _render(
    params: SynthesizeParams, renderer: Renderer, folder: Path, lock: int, wanted: dict[int, int], run: Render
) -> RenderedImages:
    places = min(_places(max(wanted.values())), params.render.max_places)
    while True:
        run(params, renderer.script, folder, lock, places)
        made = _collect(params, folder, wanted, places, renderer.revision)
        short = max(wanted[label] - made.count(label) for label in wanted)
        if short <= 0 or places == params.render.max_places:
            return made
        places = min(places + _places(short), params.render.max_places)


def _places(pictures: int) -> int:
    """Places that give so many pictures of each label."""
    return -(-pictures // (SHOTS // 2))


def _collect(
    params: SynthesizeParams, folder: Path, wanted: dict[int, int], places: int, revision: str
) -> RenderedImages:
    """Take what fits, in the order of places, up to the counts; a folder may hold more from a larger order."""
    made, ours = RenderedImages(places=places), set(picture_paths(folder, params, places))
    shown = [(path, facts) for path, facts in rendered(folder, params.render.min_share) if path in ours]
    made.left_out["works_too_small"] = len(ours) - len(shown)
    for path, facts in shown:
        if any(facts[name] not in values for name, values in params.slices.items()):
            made.left_out["outside_slices"] += 1
        elif made.count(facts["label"]) == wanted[facts["label"]]:
            made.left_out["surplus"] += 1
        else:
            made.pictures.append(SyntheticImage(to_row(path, facts, ""), _origin(params, facts, revision)))
    return made


def _origin(params: SynthesizeParams, facts: dict[str, Any], revision: str) -> dict[str, Any]:
    scene = {name: facts[name] for name in ("road", "region", "time", "weather", "distance", "share")}
    return {
        "engine": "render",
        "model": "tasks/tools/render.py",
        "revision": revision,
        "seed": facts["seed"],
        "scene": scene,
        "samples": params.render.samples,
        "distances": list(params.render.distances),
    }


def _facts(params: SynthesizeParams, renderer: Renderer, made: RenderedImages) -> dict[str, Any]:
    return {
        "source": "rendered",
        "revision": renderer.revision,
        "bpy": BPY,
        "seed": params.seed,
        "places": made.places,
        **params.render.model_dump(mode="json"),
        "left_out": dict(made.left_out),
    }


def _check(made: RenderedImages, wanted: dict[int, int], params: SynthesizeParams) -> None:
    advice = f"synthesize.render.max_places is {params.render.max_places}; left out: {dict(made.left_out)}"
    for label, count in wanted.items():
        found = made.count(label)
        text = f"{made.places} places gave {found} of {count} pictures with label {label}; {advice}"
        if count and not found:
            raise DataError(text)
        if found < count:
            print(f"synthesize: {text}", file=sys.stderr)
