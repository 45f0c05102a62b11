"""All the shots of one place: with and without roadworks, in different light."""

from __future__ import annotations

import gc
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

import bpy
from blender import light, scenery, shot, street, works
from blender.decoys import decoys

ROADS = ("city", "city", "suburb", "rural", "motorway")
REGIONS = ("us", "us", "eu", "eu", "asia")
VISIBLE = 0.0035  # share of the picture below which works are set up again, nearer
NEAR, MID = 0.05, 0.018  # the same share, from which the slice `distance` says near, or mid


def plan(index: int, seed: int) -> dict[str, str]:
    """What kind of place number `index` is; every combination of road and region comes round."""
    rng = random.Random(f"{seed} plan {index}")
    return {"road": ROADS[index % 5], "region": REGIONS[(index // 5) % 5], "night": str(rng.random() < 0.2)}


def shoot(index: int, seed: int, shots: int, folder: Path, samples: int, distances: list[float]) -> Iterator[Path]:
    """Render the shots of place number `index` that are not on disk yet; yields each picture's path as it appears.

    Args:
        index: number of the place.
        seed: of the set.
        shots: pictures of it; even ones show roadworks.
        folder: where pictures go.
        samples: paths a pixel.
        distances: how far ahead works may begin (m).

    A picture is written after its description, both by renaming, so a picture on disk means that it is whole.
    """
    todo = [number for number in range(shots) if not path(folder, seed, index, number).exists()]
    if not todo:
        return
    folder.mkdir(parents=True, exist_ok=True)
    kind = plan(index, seed)
    rng = random.Random(f"{seed} place {index}")
    shot.prepare(samples)
    place = scenery.build(rng, kind["road"], kind["region"], kind["night"] == "True")
    works.permanent_signs(place, rng, folder)
    fixed = set(bpy.data.objects)
    for number in todo:
        _clear(fixed)
        yield _shoot_one(place, kind, index, number, seed, folder, fixed, distances)
    gc.collect()


def path(folder: Path, seed: int, index: int, number: int) -> Path:
    """Where the picture of a shot lies."""
    return folder / f"p{seed}_{index:04d}_{number}.jpg"


def _clear(fixed: set[bpy.types.Object]) -> None:
    for thing in [thing for thing in bpy.data.objects if thing not in fixed]:
        bpy.data.objects.remove(thing)


def _shoot_one(
    place: street.Place,
    kind: dict[str, str],
    index: int,
    number: int,
    seed: int,
    folder: Path,
    fixed: set[bpy.types.Object],
    distances: list[float],
) -> Path:
    """Even shots show roadworks; a set-up too small to see is set up again, nearer."""
    positive = number % 2 == 0
    for attempt in range(4):
        rng = random.Random(f"{seed} shot {index} {number} {attempt}")
        _clear(fixed)
        moving = works.traffic(place, rng) + (decoys(place, rng) if not positive or rng.random() < 0.5 else [])
        near = (rng.choice(distances) + rng.uniform(-1, 2)) * (0.5**attempt)
        items = works.roadworks(place, rng, max(min(distances) - 0.5, near), folder) if positive else []
        _number(items)
        _make_way(moving, items)
        shot.aim(place, rng)
        time = "night" if place.night else rng.choice(["noon", "noon", "noon", "low_sun", "dusk"])
        weather = rng.choice(["clear", "clear", "clear", "overcast", "overcast", "wet", "fog"])
        light.set_light(place, rng, time, weather)
        picture, indices = shot.render(folder)
        found = shot.boxes(items, indices)
        share = sum(int(box.pop("pixels")) for box in found) / indices.size
        if not positive or (share >= VISIBLE and found):
            break
    facts = {
        "label": int(positive),
        "objects": found,
        "time": time,
        "weather": weather,
        "road": kind["road"],
        "region": kind["region"],
        "distance": "none" if not positive else "near" if share >= NEAR else "mid" if share >= MID else "far",
        "share": round(share, 5),
        "place": f"rendered-{seed}-{index:04d}",
        "seed": f"{seed} shot {index} {number} {attempt}",
    }
    target = path(folder, seed, index, number)
    _write(target.with_suffix(".json"), json.dumps(facts).encode())
    _write(target, shot.dashcam(picture, rng, weather))
    return target


def _number(items: list[works.Item]) -> None:
    for number, item in enumerate(items, 1):
        item.thing.pass_index = number


def _make_way(moving: list[bpy.types.Object], items: list[works.Item]) -> None:
    """Take away traffic that would stand inside the works."""
    for thing in moving:
        reach = 4.0 if max(thing.dimensions) > 3 else 1.2
        if any(math.dist(thing.location[:2], item.thing.location[:2]) < reach for item in items):
            thing.hide_render = True


def _write(target: Path, content: bytes) -> None:
    scratch = target.with_name(target.name + ".part")
    scratch.write_bytes(content)
    scratch.replace(target)
