"""Look-alikes of roadworks: what a careless classifier would call works, and docs/label-rule.md does not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import bpy
from blender import actors, props
from blender.kit import Shape, paint
from blender.street import Place

Things = Iterator[bpy.types.Object]
BINS = [(0.9, 0.25, 0.02), (0.85, 0.6, 0.03), (0.6, 0.03, 0.03), (0.1, 0.3, 0.1), (0.1, 0.15, 0.4)]
PALE = (0.75, 0.74, 0.7)


def decoys(place: Place, rng: random.Random) -> list[bpy.types.Object]:
    """Put two to four kinds of look-alikes along the road."""
    names = ["vehicle", "bollards", "cone", "people", "bins", "van", "poles", "tipper", "fence"]
    chosen = rng.sample(names, rng.randint(2, 4))
    return [thing for name, make in KINDS.items() if name in chosen for thing in make(place, rng)]


def _kerb(place: Place) -> float:
    return place.half + 0.5


def _bright_vehicles(place: Place, rng: random.Random) -> Things:
    for _ in range(rng.randint(1, 2)):
        mesh = actors.car(rng, place.night, rng.choice(actors.BRIGHT), rng.choice(["hatch", "van", "sedan", "suv"]))
        yield place.put(mesh, rng.uniform(8, 28), place.lane(rng.randrange(place.lanes), rng.random() < 0.4))


def _delivery_van(place: Place, rng: random.Random) -> Things:
    mesh = actors.car(rng, place.night, (0.8, 0.8, 0.78), "van")
    yield place.put(mesh, rng.uniform(8, 25), place.side * (place.half - 1.0))


def _passing_lorry(place: Place, rng: random.Random) -> Things:
    """A lorry, now and then a works lorry, that merely drives along."""
    mesh = actors.lorry(rng, place.night, works=rng.random() < 0.3)
    yield place.put(mesh, rng.uniform(16, 40), place.lane(place.lanes - 1))


def _bollards(place: Place, rng: random.Random) -> Things:
    mesh = _bollard(rng)
    start, side = rng.uniform(5, 15), rng.choice([-1, 1])
    for i in range(rng.randint(3, 9)):
        yield place.put(mesh, start + i * 1.6, side * _kerb(place), z=0.1)


def _lone_cone(place: Place, rng: random.Random) -> Things:
    """A single cone beside a parked car or a shop."""
    mesh = props.cone(rng.choice([0.5, 0.7]), place.region, place.night)
    yield place.put(mesh, rng.uniform(6, 18), rng.choice([-1, 1]) * (_kerb(place) + rng.uniform(0.4, 1.6)), z=0.1)


def _bright_people(place: Place, rng: random.Random) -> Things:
    for _ in range(rng.randint(1, 4)):
        mesh, s = actors.person(rng, "bright"), rng.uniform(6, 25)
        d = rng.choice([-1, 1]) * (_kerb(place) + rng.uniform(0.2, 1.5))
        yield place.put(mesh, s, d, rng.uniform(0, 6), z=0.1)


def _bins(place: Place, rng: random.Random) -> Things:
    for _ in range(rng.randint(1, 4)):
        shape = Shape()
        shape.prism([(-0.3, 0), (0.3, 0), (0.38, 1.0), (-0.38, 1.0)], 0.6, paint(rng.choice(BINS), 0.5))
        s, d = rng.uniform(6, 25), rng.choice([-1, 1]) * (_kerb(place) + rng.uniform(0.2, 1.0))
        yield place.put(shape.mesh("bin"), s, d, z=0.1)


def _poles(place: Place, rng: random.Random) -> Things:
    shape = Shape()
    for i in range(5):
        shape.cone((0, 0, i * 0.5), 0.07, 0.07, 0.5, paint(props.RED if i % 2 else props.REFLECTIVE, 0.5), 10)
    for side in (-1, 1):
        yield place.put(shape.mesh("pole"), rng.uniform(6, 22), side * _kerb(place))


def _fence(place: Place, rng: random.Random) -> Things:
    shape = Shape()
    for i in range(12):
        shape.box((0, i * 0.35, 0.5), (0.04, 0.2, 1.0), paint(PALE, 0.8))
    shape.box((0, 2, 0.75), (0.05, 4.3, 0.08), paint(PALE, 0.8))
    side, start = rng.choice([-1, 1]), rng.uniform(4, 12)
    for i in range(4):
        yield place.put(shape.mesh("fence"), start + i * 4.2, side * (_kerb(place) + 3))


def _bollard(rng: random.Random) -> bpy.types.Mesh:
    shape = Shape()
    first, second = rng.choice(
        [
            (props.RED, props.REFLECTIVE),
            (props.ORANGE, props.REFLECTIVE),
            ((0.8, 0.6, 0.03), props.BLACK),
            ((0.05, 0.05, 0.05), props.REFLECTIVE),
        ]
    )
    for i in range(4):
        shape.cone((0, 0, i * 0.22), 0.055, 0.055, 0.22, paint(first if i % 2 == 0 else second, 0.5), 10)
    shape.ball((0, 0, 0.88), (0.055, 0.055, 0.04), paint(first, 0.5))
    return shape.mesh("bollard")


# in this order, whatever was drawn first: the committed set depends on it
KINDS = {
    "vehicle": _bright_vehicles,
    "van": _delivery_van,
    "tipper": _passing_lorry,
    "bollards": _bollards,
    "cone": _lone_cone,
    "people": _bright_people,
    "bins": _bins,
    "poles": _poles,
    "fence": _fence,
}
