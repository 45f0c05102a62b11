"""What happens on the road: traffic and passers-by, ordinary signs, and roadworks."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

import bpy
from blender import actors, props, signs
from blender.kit import paint
from blender.street import Place, strip


@dataclass
class Item:
    """A roadwork object whose box goes into the dataset."""

    thing: bpy.types.Object
    category: str


def traffic(place: Place, rng: random.Random) -> list[bpy.types.Object]:
    """Cars ahead, oncoming and parked; people and bicycles on the pavement."""
    things = []
    meshes = [actors.car(rng, place.night) for _ in range(5)] + [actors.lorry(rng, place.night)]
    if place.road == "city":
        meshes.append(actors.bus(rng, place.night))
    busy = rng.choice([0.1, 0.4, 0.8])
    for oncoming in (False, True):
        for lane in range(place.lanes):
            s = rng.uniform(9, 22)
            while s < 120:
                if rng.random() < busy:
                    things.append(
                        place.put(rng.choice(meshes), s, place.lane(lane, oncoming), math.pi if oncoming else 0.0)
                    )
                s += rng.uniform(9, 24)
    if place.road in ("city", "suburb") and place.shoulder > 1.8:
        for sign in (-1, 1):
            s = rng.uniform(2, 10)
            while s < 90:
                if rng.random() < 0.55:
                    mesh = rng.choice([mesh for mesh in meshes if mesh.name.startswith("car")])
                    things.append(
                        place.put(mesh, s, sign * (place.half - 1.05), 0.0 if sign == place.side else math.pi)
                    )
                s += rng.uniform(5.6, 8)
    if place.road in ("city", "suburb"):
        for _ in range(rng.randint(0, 9 if place.road == "city" else 3)):
            outfit = "bright" if rng.random() < 0.3 else "plain"
            d = rng.choice([-1, 1]) * (place.half + rng.uniform(0.6, 2.4))
            things.append(place.put(actors.person(rng, outfit), rng.uniform(5, 50), d, rng.uniform(0, 6.3), z=0.14))
        if rng.random() < 0.35:
            things.append(place.put(actors.bicycle(rng), rng.uniform(7, 35), place.side * (place.half - 0.8), 0.0))
    return things


def permanent_signs(place: Place, rng: random.Random, folder: Path) -> None:
    """Ordinary road signs, on every kind of picture."""
    for _ in range(rng.randint(0, 4)):
        file, width, height = signs.face(signs.choose(rng, place.region, False), place.region, False, folder)
        d = rng.choice([place.side, place.side, -place.side]) * (place.half + rng.uniform(0.5, 1.6))
        place.put(props.sign(file, width, height, "post", place.night), rng.uniform(8, 60), d, rng.uniform(-0.15, 0.15))


def roadworks(place: Place, rng: random.Random, near: float, folder: Path) -> list[Item]:
    """Set up roadworks whose near end is `near` metres ahead; returns the labelled objects."""
    items: list[Item] = []
    side = rng.choice([place.side] * 4 + [-place.side])  # mostly on our side of the road
    outer = side * (place.half - 0.3)
    reach = rng.choice([0.0, 0.6, 1.0]) * place.width + 0.6  # how far they take the carriageway
    edge = side * max(0.2, place.half - place.shoulder - reach)
    length = rng.uniform(14, 45)
    _line(place, rng, items, near, length, edge, outer)
    if rng.random() < 0.75:
        _work_zone(place, rng, items, near, length, edge, outer)
    for _ in range(rng.choice([0, 1, 1, 2])):
        file, width, height = signs.face(signs.choose(rng, place.region, True), place.region, True, folder)
        stand = rng.choice(["post", "stand", "stand"])
        d = side * (place.half + rng.uniform(-0.6, 1.0)) if rng.random() < 0.7 else edge
        items.append(
            Item(
                place.put(
                    props.sign(file, width, height, stand, place.night),
                    max(5.0, near - rng.uniform(-2, 7)),
                    d,
                    rng.uniform(-0.2, 0.2),
                ),
                "sign",
            )
        )
    if rng.random() < (0.5 if place.road == "motorway" else 0.2):
        items.append(
            Item(
                place.put(props.arrow_board(rng, place.night), near + rng.uniform(6, length), (edge + outer) / 2),
                "arrow_board",
            )
        )
    return items


def _line(
    place: Place, rng: random.Random, items: list[Item], near: float, length: float, edge: float, outer: float
) -> None:
    """Channelizing devices: a taper across the closed part, then a row along its edge."""
    weights = {"us": [5, 7, 3], "eu": [4, 1, 7], "asia": [6, 1, 6]}[place.region]
    kind = rng.choices(["cone", "drum", "barrier"], weights)[0]
    kinds = {
        "us": ["jersey", "board", "water", "net"],
        "eu": ["panel", "panel", "water", "board", "fence"],
        "asia": ["board", "board", "water", "fence", "net"],
    }
    shape = rng.choice(kinds[place.region])
    if kind == "cone":
        mesh = props.cone(rng.choice([0.7, 0.75, 0.9, 1.0]), place.region, place.night)
    else:
        mesh = props.drum(place.night) if kind == "drum" else props.barrier(shape, place.region, place.night)
    pitch = {"cone": rng.uniform(1.5, 4), "drum": rng.uniform(2, 5)}.get(
        kind, {"jersey": 3.1, "water": 2.5, "board": 2.6, "panel": 2.5, "fence": 2.5, "net": 2.5}[shape]
    )
    turn = math.pi / 2 if kind == "barrier" and shape in ("jersey", "water", "fence", "net") else 0.0
    taper = rng.randint(3, 6)
    for i in range(taper):
        share = i / taper
        items.append(
            Item(
                place.put(
                    mesh,
                    near + i * min(pitch, 2.5),
                    outer + (edge - outer) * share,
                    0.0 if shape != "jersey" else turn + 0.3,
                ),
                kind,
            )
        )
    start = near + taper * min(pitch, 2.5)
    for i in range(min(16, int(length / pitch))):
        jitter = rng.uniform(-0.12, 0.12) if kind != "barrier" else 0
        items.append(Item(place.put(mesh, start + i * pitch, edge + jitter, turn), kind))
    if rng.random() < 0.35:  # a second kind mixed in
        extra = props.cone(0.75, place.region, place.night)
        for _ in range(rng.randint(2, 5)):
            items.append(
                Item(place.put(extra, near + rng.uniform(0, length), edge + (outer - edge) * rng.random()), "cone")
            )


def _work_zone(
    place: Place, rng: random.Random, items: list[Item], near: float, length: float, edge: float, outer: float
) -> None:
    """Workers, machines, heaps and a cut in the asphalt behind the line of devices."""
    middle = (edge + outer) / 2
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        thing = place.put(
            actors.person(rng, "worker", place.night),
            near + rng.uniform(3, length * 0.7),
            edge + (outer - edge) * rng.uniform(0.2, 1.2),
            rng.uniform(0, 6.3),
        )
        items.append(Item(thing, "worker"))
    machine = rng.choice(["none", "excavator", "lorry", "lorry", "roller", "van"])
    s = near + rng.uniform(7, 12 + length * 0.4)
    wide = abs(outer - edge) > 2.0
    d = middle if wide else outer + math.copysign(1.4, outer)
    if machine == "excavator":
        items.append(
            Item(place.put(props.excavator(rng), s, d, rng.uniform(-0.5, 0.5) + rng.choice([0, math.pi])), "vehicle")
        )
    elif machine == "lorry":
        items.append(Item(place.put(actors.lorry(rng, place.night, works=True), s, d), "vehicle"))
    elif machine == "roller":
        items.append(Item(place.put(props.roller(rng), s, d, rng.uniform(-0.2, 0.2)), "vehicle"))
    elif machine == "van":
        items.append(
            Item(
                place.put(actors.car(rng, place.night, rng.choice([props.ORANGE, props.MACHINE]), "van"), s, d),
                "vehicle",
            )
        )
    if rng.random() < 0.5:
        place.put(
            props.heap(rng, rng.uniform(0.6, 1.5)),
            near + rng.uniform(4, length),
            middle + rng.uniform(-0.5, 0.5),
            z=-0.02,
        )
    if rng.random() < 0.5:
        cut = paint(rng.choice([(0.012, 0.012, 0.013), (0.2, 0.14, 0.08), (0.3, 0.27, 0.22)]), 1.0, grain=4)
        low, high = sorted((edge + math.copysign(0.5, outer - edge) * 1.0, outer))
        strip(place, near + 4, near + length, low, high, 0.016, cut)
