"""A whole place: the road, and the buildings, trees, lamps, poles, rails and gantries beside it."""

from __future__ import annotations

import math
import random

import bpy
from blender.kit import RGB, Shape, paint
from blender.street import Place, asphalt, markings, strip, strip_wall, verges

WALLS: list[RGB] = [
    (0.42, 0.36, 0.3),
    (0.3, 0.13, 0.09),
    (0.5, 0.48, 0.44),
    (0.25, 0.23, 0.22),
    (0.55, 0.45, 0.3),
    (0.36, 0.3, 0.28),
    (0.2, 0.1, 0.07),
    (0.6, 0.58, 0.55),
]
LEAVES: list[RGB] = [(0.05, 0.09, 0.02), (0.08, 0.13, 0.03), (0.03, 0.06, 0.02), (0.11, 0.14, 0.04)]
AUTUMN: list[RGB] = [(0.55, 0.18, 0.02), (0.5, 0.28, 0.03), (0.4, 0.07, 0.02), (0.3, 0.2, 0.03)]


def facade(rng: random.Random, wall: RGB, night: bool) -> bpy.types.Material:
    """A wall with rows of windows; at night some of them are lit."""
    material = bpy.data.materials.new("facade")
    material.use_nodes = True
    tree = material.node_tree
    brick, uv, ramp, mix = (
        tree.nodes.new(kind)
        for kind in ("ShaderNodeTexBrick", "ShaderNodeUVMap", "ShaderNodeValToRGB", "ShaderNodeMix")
    )
    brick.offset = 0
    brick.inputs["Color1"].default_value, brick.inputs["Color2"].default_value = (0, 0, 0, 1), (1, 1, 1, 1)
    brick.inputs["Scale"].default_value = 1
    brick.inputs["Mortar Size"].default_value = rng.uniform(0.45, 0.75)
    brick.inputs["Mortar Smooth"].default_value = 0
    brick.inputs["Brick Width"].default_value = rng.uniform(1.9, 3.4)
    brick.inputs["Row Height"].default_value = rng.uniform(2.9, 3.5)
    tree.links.new(uv.outputs[0], brick.inputs["Vector"])
    dark, light = rng.uniform(0.01, 0.04), rng.uniform(0.05, 0.16)
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (
        (dark, dark, dark * 1.2, 1),
        (light, light, light * 1.15, 1),
    )
    tree.links.new(brick.outputs["Color"], ramp.inputs["Fac"])
    noise = tree.nodes.new("ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value = 0.6
    stain = tree.nodes.new("ShaderNodeValToRGB")
    stain.color_ramp.elements[0].color = (*(v * 0.7 for v in wall), 1)
    stain.color_ramp.elements[1].color = (*(min(1, v * 1.2) for v in wall), 1)
    tree.links.new(uv.outputs[0], noise.inputs["Vector"])
    tree.links.new(noise.outputs["Fac"], stain.inputs["Fac"])
    mix.data_type = "RGBA"
    tree.links.new(brick.outputs["Fac"], mix.inputs["Factor"])
    tree.links.new(ramp.outputs["Color"], mix.inputs[6])
    tree.links.new(stain.outputs["Color"], mix.inputs[7])
    shader = tree.nodes["Principled BSDF"]
    tree.links.new(mix.outputs[2], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.55
    if night:
        lit, glow = tree.nodes.new("ShaderNodeMath"), tree.nodes.new("ShaderNodeMath")
        lit.operation, glow.operation = "GREATER_THAN", "SUBTRACT"
        lit.inputs[1].default_value = rng.uniform(0.62, 0.9)
        tree.links.new(brick.outputs["Color"], lit.inputs[0])
        tree.links.new(lit.outputs[0], glow.inputs[0])
        tree.links.new(brick.outputs["Fac"], glow.inputs[1])
        strength = tree.nodes.new("ShaderNodeMath")
        strength.operation = "MULTIPLY"
        strength.use_clamp = False
        strength.inputs[1].default_value = rng.uniform(0.4, 1.6)
        tree.links.new(glow.outputs[0], strength.inputs[0])
        shader.inputs["Emission Color"].default_value = (1, 0.72, 0.38, 1)
        tree.links.new(strength.outputs[0], shader.inputs["Emission Strength"])
    return material


def buildings(place: Place, rng: random.Random) -> None:
    """City blocks with shops, or houses with gabled roofs, on both sides."""
    palette = [facade(rng, rng.choice(WALLS), place.night) for _ in range(5)]
    for sign in (-1, 1):
        s = -18.0
        while s < 150:
            if place.road == "city":
                length = rng.uniform(8, 20)
                if rng.random() < 0.9:
                    _block(place, rng, s, length, sign, rng.choice(palette))
                s += length + (0 if rng.random() < 0.8 else rng.uniform(2, 9))
            else:
                length = rng.uniform(8, 14)
                if rng.random() < 0.85:
                    _house(place, rng, s, length, sign, rng.choice(palette))
                s += length + rng.uniform(3, 12)


def _block(place: Place, rng: random.Random, s: float, length: float, sign: int, wall: bpy.types.Material) -> None:
    depth, height = rng.uniform(8, 12), rng.uniform(6, 24)
    d = sign * (place.half + rng.uniform(2.6, 4.2) + depth / 2)
    shape = Shape()
    shape.box((0, 0, height / 2 + 0.1), (depth, length - 0.05, height), wall)
    shape.box((0, 0, height + 0.3), (depth + 0.4, length, 0.5), paint(rng.choice(WALLS), 0.9))
    if rng.random() < 0.7:  # a shop front with a band of colour, sometimes an awning
        near = -sign * (depth / 2 + 0.06)
        shape.box(
            (near, 0, 1.6), (0.1, length * 0.92, 2.4), paint((0.03, 0.035, 0.04), 0.08, glow=0.25 if place.night else 0)
        )
        band = rng.choice(
            [*WALLS, (0.5, 0.03, 0.03), (0.03, 0.2, 0.12), (0.05, 0.1, 0.35), (0.9, 0.3, 0.03), (0.85, 0.65, 0.05)]
        )
        shape.box(
            (near * 1.01, 0, 3.1),
            (0.2, length * 0.94, 0.65),
            paint(band, 0.5, glow=0.8 if place.night and rng.random() < 0.5 else 0),
        )
        for i in range(rng.randint(2, 5)):
            shape.box(
                (near * 1.015, -length * 0.4 + i * length * 0.2, 1.3), (0.1, 0.12, 2.6), paint(rng.choice(WALLS), 0.8)
            )
        if rng.random() < 0.4:
            colour = rng.choice(
                [(0.9, 0.25, 0.02), (0.7, 0.04, 0.03), (0.1, 0.25, 0.12), (0.75, 0.72, 0.65), (0.9, 0.6, 0.05)]
            )
            stripes = max(3, int(length * 0.6 / 0.5))
            for i in range(stripes):
                y = -length * 0.3 + i * length * 0.6 / stripes
                cloth = paint(colour if i % 2 else (0.8, 0.8, 0.78), 0.9)
                shape.face(
                    [
                        (near, y, 3.0),
                        (near, y + length * 0.6 / stripes, 3.0),
                        (near - sign * 1.3, y + length * 0.6 / stripes, 2.45),
                        (near - sign * 1.3, y, 2.45),
                    ],
                    cloth,
                )
    place.put(shape.mesh("block"), s + length / 2, d)


def _house(place: Place, rng: random.Random, s: float, length: float, sign: int, wall: bpy.types.Material) -> None:
    depth, height = rng.uniform(7, 10), rng.choice([3.2, 5.6, 5.8])
    d = sign * (place.half + rng.uniform(7, 13) + depth / 2)
    shape, roof = (
        Shape(),
        paint(
            rng.choice([(0.08, 0.07, 0.07), (0.2, 0.07, 0.04), (0.12, 0.12, 0.13), (0.25, 0.18, 0.12)]), 0.9, grain=4
        ),
    )
    shape.box((0, 0, height / 2), (depth, length, height), wall)
    w, half, top = depth / 2 + 0.5, length / 2 + 0.4, height + rng.uniform(1.6, 3.0)
    for side in (-1, 1):
        shape.face(
            [(side * w, -half, height - 0.1), (side * w, half, height - 0.1), (0, half, top), (0, -half, top)], roof
        )
    for end in (-1, 1):
        shape.face(
            [
                (-w + 0.5, end * (half - 0.4), height),
                (w - 0.5, end * (half - 0.4), height),
                (0, end * (half - 0.4), top - 0.2),
            ],
            wall,
        )
    shape.box(
        (-sign * (depth / 2 + 0.05), rng.uniform(-2, 2), 1.05),
        (0.1, rng.choice([1.0, 2.6]), 2.1),
        paint(rng.choice([*WALLS, (0.4, 0.05, 0.03), (0.1, 0.15, 0.3)]), 0.5),
    )
    place.put(shape.mesh("house"), s + length / 2, d)


def tree_mesh(rng: random.Random, colour: RGB) -> bpy.types.Mesh:
    """A tree of about 900 leaf cards around a trunk, 6 m tall."""
    shape = Shape()
    bark, leaf = paint((0.09, 0.06, 0.04), 1.0), paint(colour, 0.85)
    shade = paint(tuple(v * 0.6 for v in colour), 0.85)
    shape.limb((0, 0, 0), (0.1, 0, 2.6), 0.2, 0.12, bark)
    blobs = [
        (rng.uniform(-1.2, 1.2), rng.uniform(-1.2, 1.2), rng.uniform(2.8, 5.2), rng.uniform(0.9, 1.5)) for _ in range(8)
    ]
    for x, y, z, r in blobs:
        shape.limb((0.1, 0, 2.4), (x, y, z), 0.07, 0.02, bark, 5)
        for _ in range(115):
            a, b, q = rng.uniform(0, 6.283), rng.uniform(-1, 1), r * rng.uniform(0.55, 1.0)
            c = math.sqrt(1 - b * b)
            centre = (x + q * c * math.cos(a), y + q * c * math.sin(a), z + q * b * 0.85)
            e, f = rng.uniform(0.1, 0.26), rng.uniform(0, 6.283)
            u = (e * math.cos(f), e * math.sin(f), rng.uniform(-e, e))
            v = (-e * math.sin(f), e * math.cos(f), rng.uniform(-e, e))
            shape.face(
                [
                    tuple(centre[k] + i * u[k] + j * v[k] for k in range(3))
                    for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
                ],
                leaf if rng.random() < 0.6 else shade,
            )
    return shape.mesh("tree")


def trees(place: Place, rng: random.Random) -> None:
    """Street trees, garden trees or a wooded verge."""
    palette = AUTUMN + LEAVES[:1] if place.autumn else LEAVES
    kinds = [tree_mesh(rng, rng.choice(palette)) for _ in range(3)]
    near = {"city": 1.2, "suburb": 3.5, "rural": 3.5, "motorway": 7.0}[place.road]
    count = {
        "city": rng.randint(0, 9),
        "suburb": rng.randint(8, 22),
        "rural": rng.randint(12, 50),
        "motorway": rng.randint(10, 50),
    }[place.road]
    spread = {"city": 0.5, "suburb": 8, "rural": 30, "motorway": 25}[place.road]
    for _ in range(count):
        d = rng.choice([-1, 1]) * (place.half + near + rng.random() ** 2 * spread)
        place.put(rng.choice(kinds), rng.uniform(3, 130), d, rng.uniform(0, 6), rng.uniform(0.7, 1.7))


def furniture(place: Place, rng: random.Random) -> None:
    """Lamps, poles with wires, guard rails, fences and bollards."""
    grey = paint((0.25, 0.26, 0.27), 0.5, 0.4)
    if place.road in ("city", "suburb", "motorway"):
        step, side = rng.uniform(22, 35), rng.choice([-1, 1])
        for i in range(-1, 5):
            _lamp(place, i * step + 8, side * (place.half + 0.6), side, rng.uniform(7, 9), grey)
    if place.road in ("suburb", "rural") and rng.random() < 0.7:
        _poles(place, rng)
    if place.road == "motorway" or (place.road == "rural" and rng.random() < 0.3):
        sides = [(-1, place.half + 0.4), (1, place.half + 0.4)] + ([(1, 0.0)] if place.road == "motorway" else [])
        for sign, d in sides:
            _rail(place, sign * d, rng.random() < 0.4 and d == 0.0)
    if place.road == "motorway" and rng.random() < 0.5:
        _gantry(place, rng)


def _lamp(place: Place, s: float, d: float, sign: int, height: float, grey: bpy.types.Material) -> None:
    shape = Shape()
    shape.limb((0, 0, 0), (0, 0, height), 0.09, 0.06, grey)
    shape.limb((0, 0, height), (-sign * 1.8, 0, height + 0.25), 0.05, 0.04, grey)
    shape.box(
        (-sign * 2.0, 0, height + 0.22), (0.7, 0.25, 0.12), paint((1, 0.8, 0.5), 0.4, glow=30 if place.night else 0)
    )
    place.put(shape.mesh("lamp"), s, d)
    place.lamps.append(place.at(s, d - sign * 2.0, height - 0.1))


def _poles(place: Place, rng: random.Random) -> None:
    wood, side = paint((0.12, 0.09, 0.06), 1.0), rng.choice([-1, 1])
    shape = Shape()
    shape.limb((0, 0, 0), (0, 0, 9), 0.14, 0.1, wood)
    shape.box((0, 0, 8.5), (2.0, 0.12, 0.12), wood)
    mesh = shape.mesh("pole")
    d = side * (place.half + rng.uniform(1.5, 4))
    for i in range(-1, 5):
        place.put(mesh, i * 30.0, d)
        for x in (-0.9, 0.0, 0.9):
            wire = Shape()
            for a in range(6):
                sag = [8.6 - 1.0 * (1 - (2 * t / 6 - 1) ** 2) for t in (a, a + 1)]
                wire.limb(
                    place.at(i * 30 + a * 5, d + x, sag[0]),
                    place.at(i * 30 + a * 5 + 5, d + x, sag[1]),
                    0.02,
                    0.02,
                    paint((0.02, 0.02, 0.02)),
                    4,
                )
            thing = bpy.data.objects.new("wire", wire.mesh("wire"))
            bpy.context.scene.collection.objects.link(thing)


def _rail(place: Place, d: float, concrete: bool) -> None:
    if concrete:
        strip_wall(place, d, 0.9, paint((0.4, 0.39, 0.37), 0.95, grain=2), 0.25)
        return
    strip_wall(place, d, 0.75, paint((0.35, 0.36, 0.37), 0.45, 0.6), 0.04, bottom=0.45)
    post = Shape()
    post.box((0, 0, 0.35), (0.12, 0.12, 0.7), paint((0.3, 0.3, 0.3), 0.6))
    mesh = post.mesh("post")
    for i in range(-3, 36):
        place.put(mesh, i * 4.0, d)


def _gantry(place: Place, rng: random.Random) -> None:
    shape, grey = Shape(), paint((0.3, 0.31, 0.32), 0.5, 0.4)
    w = place.half + 1
    for x in (-w, w):
        shape.limb((x, 0, 0), (x, 0, 6.6), 0.2, 0.2, grey)
    shape.box((0, 0, 6.5), (2 * w, 0.4, 0.6), grey)
    board = paint(
        (0.0, 0.15, 0.08) if place.region != "eu" else (0.02, 0.1, 0.35), 0.5, glow=0.15 if place.night else 0
    )
    for _ in range(2):
        x = rng.uniform(1.5, w - 3) * place.side
        shape.box((x, -0.3, 6.6), (4.2, 0.08, 2.2), board)
        for row in range(2):
            shape.box(
                (x, -0.36, 7.0 - row * 0.7),
                (rng.uniform(1.5, 3.4), 0.02, 0.28),
                paint((0.8, 0.8, 0.8), 0.5, glow=0.3 if place.night else 0),
            )
    place.put(shape.mesh("gantry"), rng.uniform(35, 80), 0)


def build(rng: random.Random, road: str, region: str, night: bool) -> Place:
    """Build the static part of a place."""
    left_hand = {"us": 0.0, "eu": 0.35, "asia": 0.6}[region]
    lanes = {"city": rng.choice([1, 1, 2, 2]), "suburb": 1, "rural": 1, "motorway": rng.choice([2, 3])}[road]
    bend = {"city": 0.0008, "suburb": 0.004, "rural": 0.005, "motorway": 0.002}[road]
    place = Place(
        road,
        region,
        -1 if rng.random() < left_hand else 1,
        lanes,
        rng.uniform(3.0, 3.7),
        rng.uniform(-bend, bend),
        rng.uniform(-0.12, 0.25) if road in ("rural", "motorway") else 0.0,
        {
            "city": rng.choice([0.3, 2.2, 2.4]),
            "suburb": rng.choice([0.2, 2.0]),
            "rural": rng.uniform(0.3, 1.5),
            "motorway": rng.uniform(2, 3.2),
        }[road],
        night,
        rng.random() < 0.25,
    )
    strip(place, -30, 400, -place.half, place.half, 0.0, asphalt(rng), 5)
    markings(place, rng)
    verges(place, rng)
    if road in ("city", "suburb"):
        buildings(place, rng)
    trees(place, rng)
    furniture(place, rng)
    return place
