# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["bpy==4.5.15", "numpy<2", "pillow>=11", "tqdm>=4.67"]
# ///
"""Render works and look-alikes without a street: `python -m tasks.tools.blender tasks/tools/cutouts.py --out DIR`.

Each is a PNG whose alpha holds the objects and the shadows that they cast on level ground, seen from a car's height
with the horizon in the middle, and a JSON file with label and exact boxes. `python -m tasks.tools.paste` puts them
into photographs of clear streets. Runs in the environment of `tasks/tools/render.py`; seeded and resumable as that is.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from blender.street import Place
    from blender.works import Item

WIDTH, HEIGHT = 480, 360  # px
LENSES = [20, 24, 28, 35]  # mm, for a film 36 mm wide
HEIGHTS = [1.15, 1.25, 1.35, 1.5, 1.7]  # m, of the camera
DISTANCES = [2.5, 3, 4, 5, 6.5, 8, 11]  # m ahead at which works begin
ROADS = ("city", "suburb", "rural")
REGIONS = ("eu", "us", "eu", "us", "asia")
SIGN_ALONE = 0.2  # share of the works that are announced by a sign and nothing else
SHOTS = 6  # a place


def _silence() -> None:
    """Blender writes to standard output as it renders."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def work(job: tuple[int, int, int, str, int]) -> int:
    """Render what is missing of one place; returns how many pictures are new."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "synthesis"))
    index, seed, shots, folder, samples = job
    todo = [number for number in range(shots) if not _path(Path(folder), seed, index, number).exists()]
    if not todo:
        return 0
    from blender import shot

    shot.prepare(samples)
    _transparent()
    for number in todo:
        _shoot(Path(folder), seed, index, number)
    return len(todo)


def _path(folder: Path, seed: int, index: int, number: int) -> Path:
    return folder / f"c{seed}_{index:04d}_{number}.png"


def _transparent() -> None:
    """Leave the sky out, and write alpha; haze would cover what is left out."""
    import bpy

    scene = bpy.context.scene
    scene.render.film_transparent = True
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.cycles.use_fast_gi = False  # its ambient occlusion darkens the whole ground
    nodes, links = scene.node_tree.nodes, scene.node_tree.links
    links.new(nodes["Render Layers"].outputs["Image"], nodes["Composite"].inputs[0])


def _shoot(folder: Path, seed: int, index: int, number: int) -> None:
    import bpy
    from blender import light

    rng = random.Random(f"{seed} cut-out {index} {number}")
    for thing in list(bpy.data.objects):
        if thing != bpy.context.scene.camera:
            bpy.data.objects.remove(thing)
    place = _level_place(rng, ROADS[index % len(ROADS)], REGIONS[index % len(REGIONS)])
    _ground()
    works = number % 3 != 2
    items = _works(place, rng, folder) if works else []
    if not works or rng.random() < 0.25:
        _lookalikes(place, rng, folder)
    for mark, item in enumerate(items, 1):
        item.thing.pass_index = mark
    _aim(place, rng)
    time = rng.choice(["noon", "noon", "noon", "low_sun", "dusk"])
    weather = rng.choice(["clear", "overcast", "overcast"])
    light.set_light(place, rng, time, weather)
    facts = {"label": int(works), "time": time, "weather": weather, "road": place.road, "region": place.region}
    _render(_path(folder, seed, index, number), items, facts)


def _level_place(rng: random.Random, road: str, region: str) -> Place:
    from blender.street import Place

    return Place(
        road=road,
        region=region,
        side=1,
        lanes=rng.choice([1, 1, 2]),
        width=rng.uniform(3.0, 3.6),
        bend=rng.gauss(0, 0.002),
        rise=0.0,
        shoulder=rng.choice([0.2, 0.5, 2.2]),
    )


def _ground() -> None:
    """A plane that shows nothing but shadows."""
    import bpy

    mesh = bpy.data.meshes.new("ground")
    mesh.from_pydata([(-80, -20, 0), (80, -20, 0), (80, 160, 0), (-80, 160, 0)], [], [(0, 1, 2, 3)])
    thing = bpy.data.objects.new("ground", mesh)
    thing.is_shadow_catcher = True
    bpy.context.scene.collection.objects.link(thing)


def _works(place: Place, rng: random.Random, folder: Path) -> list[Item]:
    from blender import props, signs, works

    if rng.random() >= SIGN_ALONE:
        return works.roadworks(place, rng, rng.choice(DISTANCES) + rng.uniform(-0.5, 1.5), folder)
    items = []
    for _ in range(rng.choice([1, 1, 2])):
        file, width, height = signs.face(signs.choose(rng, place.region, True), place.region, True, folder)
        mesh = props.sign(file, width, height, rng.choice(["post", "stand"]), place.night)
        d = place.side * (place.half + rng.uniform(-0.6, 1.2))
        items.append(works.Item(place.put(mesh, rng.uniform(5, 14), d, rng.uniform(-0.2, 0.2)), "sign"))
    return items


def _lookalikes(place: Place, rng: random.Random, folder: Path) -> None:
    """Bins, bollards, bright vehicles and people, and the signs of every street."""
    from blender import works
    from blender.decoys import decoys

    decoys(place, rng)
    works.permanent_signs(place, rng, folder)


def _aim(place: Place, rng: random.Random) -> None:
    """Look along the road from its lane, level, so that the horizon lies in the middle."""
    import math

    import bpy

    camera = bpy.context.scene.camera
    camera.data.sensor_width, camera.data.lens = 36, rng.choice(LENSES)
    camera.location = place.at(0, place.lane(rng.randrange(place.lanes)) + rng.uniform(-0.4, 0.4), rng.choice(HEIGHTS))
    camera.rotation_euler = (math.pi / 2, 0, math.radians(rng.gauss(0, 4)))


def _render(target: Path, items: list[Item], facts: dict[str, object]) -> None:
    """Write description and picture, both by renaming, the picture last."""
    import bpy
    from blender import shot

    scene = bpy.context.scene
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        scene.node_tree.nodes["masks"].base_path = scratch
        scene.render.filepath = str(Path(scratch) / "picture.png")
        bpy.ops.render.render(write_still=True)
        found = shot.boxes(items, _indices(next(Path(scratch).glob("*.exr"))))
        facts |= {"objects": found, "share": round(sum(box.pop("pixels") for box in found) / WIDTH / HEIGHT, 5)}
        described = Path(scratch) / "facts.json"
        described.write_text(json.dumps(facts))
        described.replace(target.with_suffix(".json"))
        Path(scene.render.filepath).replace(target)


def _indices(file: Path) -> np.ndarray:
    """Object indices, (HEIGHT, WIDTH) int."""
    import bpy
    import numpy as np

    image = bpy.data.images.load(str(file))
    pixels = np.empty(WIDTH * HEIGHT * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return pixels.reshape(HEIGHT, WIDTH, -1)[::-1, :, 0].round().astype(int)


def main() -> None:
    """Render what is missing, with a progress bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="number of the first place")
    parser.add_argument("--shots", type=int, default=SHOTS, help="cut-outs a place; of three, two show works")
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--samples", type=int, default=4, help="paths a pixel")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("var/cutouts"))
    options = parser.parse_args()
    from tqdm import tqdm

    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [
        (index, options.seed, options.shots, str(options.out), options.samples)
        for index in range(options.first, options.first + options.places)
    ]
    with multiprocessing.get_context("spawn").Pool(options.processes, _silence, maxtasksperchild=4) as pool:
        for _ in tqdm(pool.imap_unordered(work, jobs), total=len(jobs), unit="place"):
            pass


if __name__ == "__main__":
    main()
