"""Roadwork equipment, modelled here: each function returns one mesh standing on the origin, facing -y, in metres."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import bpy
from blender.kit import RGB, Shape, paint, picture

ORANGE: RGB = (0.95, 0.16, 0.015)
REFLECTIVE: RGB = (0.85, 0.85, 0.83)
RED: RGB = (0.7, 0.02, 0.02)
MACHINE: RGB = (0.85, 0.42, 0.02)
BLACK: RGB = (0.02, 0.02, 0.022)
STEEL: RGB = (0.38, 0.39, 0.4)
CONCRETE: RGB = (0.42, 0.41, 0.38)


def cone(height: float, region: str, night: bool) -> bpy.types.Mesh:
    """Traffic cone with white sleeves; Asian sites also use red ones."""
    body = paint(RED if region == "asia" and height > 0.72 else ORANGE, 0.55)
    sleeve = paint(REFLECTIVE, 0.3, glow=0.25 if night else 0)
    shape = Shape()
    radius = height * 0.19
    shape.box((0, 0, 0.02), (height * 0.55, height * 0.55, 0.04), paint(BLACK if height > 0.8 else ORANGE, 0.8))
    cuts = [(0.0, body), (0.38, sleeve), (0.56, body), (0.68, sleeve), (0.8, body), (1.0, body)]
    for (low, material), (high, _) in pairwise(cuts):
        shape.cone(
            (0, 0, 0.04 + low * height),
            radius * (1 - low * 0.86),
            radius * (1 - high * 0.86),
            (high - low) * height,
            material,
        )
    return shape.mesh("cone")


def drum(night: bool) -> bpy.types.Mesh:
    """Channelizing drum: orange with white bands on a black base, 1 m tall."""
    shape = Shape()
    shape.cone((0, 0, 0), 0.42, 0.38, 0.1, paint(BLACK, 0.8), 20)
    sleeve = paint(REFLECTIVE, 0.3, glow=0.25 if night else 0)
    for i, z in enumerate((0.1, 0.26, 0.42, 0.58, 0.74)):
        shape.cone(
            (0, 0, z), 0.29 - i * 0.008, 0.285 - i * 0.008, 0.16, sleeve if i in (1, 3) else paint(ORANGE, 0.5), 20
        )
    shape.cone((0, 0, 0.9), 0.25, 0.18, 0.1, paint(ORANGE, 0.5), 20)
    return shape.mesh("drum")


def barrier(kind: str, region: str, night: bool) -> bpy.types.Mesh:
    """A barrier: jersey, water (filled plastic), board (barricade), panel (beacon), fence (steel mesh) or net."""
    first = {"us": ORANGE, "eu": RED, "asia": (0.9, 0.55, 0.02)}[region]
    second = BLACK if region == "asia" else REFLECTIVE
    shape = Shape()
    glow = 0.2 if night else 0.0
    if kind == "jersey":
        shape.prism(
            [(-0.3, 0), (0.3, 0), (0.28, 0.18), (0.13, 0.4), (0.09, 0.85), (-0.09, 0.85), (-0.13, 0.4), (-0.28, 0.18)],
            3.0,
            paint(CONCRETE, 0.95, grain=5),
            0.01,
        )
    elif kind == "water":
        for i in range(2):
            colour = paint(first if i else REFLECTIVE, 0.45)
            shape.prism(
                [(-0.25, 0), (0.25, 0), (0.2, 0.3), (0.1, 0.5), (0.09, 0.95), (-0.09, 0.95), (-0.1, 0.5), (-0.2, 0.3)],
                1.15,
                colour,
                0.03,
                (i * 1.2 - 0.6, 0, 0),
            )
    elif kind == "board":
        for row in range(3 if region == "us" else 1):
            _stripes(shape, 1.9, 0.22, 1.35 - row * 0.42, first, second, glow)
        for x in (-0.75, 0.75):
            shape.box((x, 0, 0.75), (0.06, 0.06, 1.5), paint(STEEL, 0.5))
            shape.box((x, 0, 0.05), (0.08, 1.0, 0.08), paint(STEEL, 0.5))
    elif kind == "panel":
        shape.box((0, 0, 0.05), (0.4, 0.7, 0.1), paint(BLACK, 0.9))
        for row in range(5):
            shape.box(
                (0, -0.015, 0.25 + row * 0.19),
                (0.25, 0.04, 0.19),
                paint(first if row % 2 == 0 else second, 0.4, glow=glow),
            )
    else:
        colour = paint(STEEL if kind == "fence" else ORANGE, 0.5)
        for x in (-1.2, 1.2):
            shape.limb((x, 0, 0), (x, 0, 1.9 if kind == "fence" else 1.15), 0.03, 0.03, colour)
        top = 1.85 if kind == "fence" else 1.1
        for i in range(24):
            x = -1.2 + i * 0.1
            shape.box((x, 0, top / 2 + 0.08), (0.012 if kind == "fence" else 0.05, 0.01, top - 0.1), colour)
        for i in range(9):
            shape.box((0, 0, 0.15 + i * (top - 0.15) / 8), (2.4, 0.012, 0.015 if kind == "fence" else 0.06), colour)
    return shape.mesh(f"barrier {kind}")


def _stripes(shape: Shape, width: float, height: float, z: float, first: RGB, second: RGB, glow: float) -> None:
    """Slanted stripes across a board whose middle is at height `z`, all in metres."""
    count = 8
    step, slant = width / count, height * 0.7
    for i in range(count):
        x = -width / 2 + i * step
        colour = paint(first if i % 2 else second, 0.4, glow=glow)
        corners = [
            (x, z - height / 2),
            (x + step, z - height / 2),
            (x + step + slant, z + height / 2),
            (x + slant, z + height / 2),
        ]
        clipped = [(min(width / 2, cx) - slant * 0.3, cz) for cx, cz in corners]
        shape.face([(cx, -0.03, cz) for cx, cz in clipped], colour)
        shape.face([(cx, 0.0, cz) for cx, cz in reversed(clipped)], paint(STEEL, 0.6))


def sign(face_file: str, width: float, height: float, stand: str, night: bool) -> bpy.types.Mesh:
    """A sign face on a post (permanent), or on a low folding stand (temporary)."""
    shape = Shape()
    base = 2.1 if stand == "post" else 0.55
    uv = [(0, 0), (1, 0), (1, 1), (0, 1)]
    left, right = -width / 2, width / 2
    shape.face(
        [(left, -0.04, base), (right, -0.04, base), (right, -0.04, base + height), (left, -0.04, base + height)],
        picture(face_file, 0.35 if night else 0.0),
        uv,
    )
    grey = paint(STEEL, 0.5, 0.6)
    if stand == "post":
        shape.limb((0, 0, 0), (0, 0, base + height * 0.8), 0.035, 0.035, grey)
    else:
        for x in (-0.45, 0.45):
            shape.limb((x, -0.3, 0), (0, 0, base + height * 0.3), 0.025, 0.02, grey)
            shape.limb((x, 0.5, 0), (0, 0, base + height * 0.3), 0.025, 0.02, grey)
        shape.box((0, 0.1, 0.06), (0.5, 0.25, 0.12), paint((0.3, 0.22, 0.1), 1.0))
    return shape.mesh("sign")


def arrow_board(rng: random.Random, night: bool) -> bpy.types.Mesh:
    """A trailer with a black panel of amber lamps that show an arrow or a bar."""
    shape = Shape()
    lamp, dark = paint((1.0, 0.5, 0.05), 0.4, glow=9 if night else 5), paint((0.1, 0.07, 0.02), 0.4)
    shape.box((0, 0.3, 0.55), (1.5, 2.0, 0.35), paint(rng.choice([MACHINE, ORANGE, (0.6, 0.6, 0.6)]), 0.5))
    for x in (-0.8, 0.8):
        shape.cone((x - 0.1, 0.4, 0.33), 0.33, 0.33, 0.2, paint(BLACK, 0.8), axis="x")
    shape.box((0, 0, 1.3), (0.12, 0.12, 1.4), paint(STEEL, 0.4))
    shape.box((0, 0, 2.45), (2.4, 0.1, 1.2), paint(BLACK, 0.7))
    flip = rng.choice([-1, 1])
    lit = {(c, 2) for c in range(9)} | {(2 + c, 2 + c) for c in range(-2, 0)} | {(1, 1), (1, 3), (2, 0), (2, 4)}
    lit = rng.choice([lit, {(c, 2) for c in range(9)}, lit | {(6, 0), (7, 1), (7, 3), (6, 4)}])
    for c in range(9):
        for r in range(5):
            shape.cone(
                (flip * (-1.0 + c * 0.25), -0.06, 2.05 + r * 0.2),
                0.07,
                0.07,
                -0.04,
                lamp if (c, r) in lit else dark,
                8,
                "y",
            )
    return shape.mesh("arrow board")


def excavator(rng: random.Random) -> bpy.types.Mesh:
    """A tracked excavator with its boom down."""
    shape = Shape()
    colour = paint(rng.choice([MACHINE, (0.9, 0.5, 0.03), (0.75, 0.18, 0.02), (0.2, 0.3, 0.32)]), 0.5, grain=2)
    black, glass = paint(BLACK, 0.8), paint((0.03, 0.05, 0.06), 0.08)
    for x in (-1.0, 1.0):
        shape.prism(
            [(-1.7, 0.35), (-1.4, 0.0), (1.4, 0.0), (1.7, 0.35), (1.5, 0.8), (-1.5, 0.8)], 0.55, black, 0.02, (x, 0, 0)
        )
    shape.prism([(-1.6, 0.95), (1.4, 0.95), (1.4, 1.7), (0.1, 1.75), (-1.3, 1.9), (-1.6, 1.5)], 2.3, colour, 0.05)
    shape.prism([(0.1, 1.6), (1.4, 1.6), (1.25, 2.75), (0.2, 2.8)], 0.95, colour, 0.05, (-0.65, 0, 0))
    shape.prism([(0.15, 1.85), (1.44, 1.85), (1.3, 2.6), (0.25, 2.6)], 0.98, glass, 0.03, (-0.65, 0, 0))
    knee, tip, bucket = (0.4, 3.4, 3.6), (0.4, 5.3, 2.4), (0.4, 4.9, 0.6)
    shape.limb((0.4, 1.2, 1.6), knee, 0.3, 0.24, colour)
    shape.limb(knee, tip, 0.22, 0.18, colour)
    shape.limb(tip, bucket, 0.18, 0.14, colour)
    shape.limb((0.4, 2.0, 2.5), (0.4, 4.2, 3.3), 0.07, 0.07, paint(STEEL, 0.3, 0.8))
    shape.prism([(4.5, 0.1), (5.2, 0.0), (5.4, 0.6), (4.8, 0.8)], 0.9, black, 0.02, (0.4, 0, 0))
    return shape.mesh("excavator")


def roller(rng: random.Random) -> bpy.types.Mesh:
    """A road roller with two steel drums."""
    shape = Shape()
    colour = paint(rng.choice([MACHINE, (0.85, 0.55, 0.05), (0.7, 0.1, 0.02)]), 0.5)
    for y in (-1.3, 1.3):
        shape.cone((-0.7, y, 0.6), 0.6, 0.6, 1.4, paint(STEEL, 0.35, 0.7), 20, "x")
    shape.prism([(-1.8, 0.8), (1.8, 0.8), (1.9, 1.5), (-1.7, 1.5)], 1.3, colour)
    for y in (-0.6, 0.7):
        for x in (-0.5, 0.5):
            shape.limb((x, y, 1.4), (x, y, 2.5), 0.04, 0.04, paint(BLACK))
    shape.box((0, 0.05, 2.55), (1.3, 1.7, 0.1), colour)
    return shape.mesh("roller")


def heap(rng: random.Random, radius: float) -> bpy.types.Mesh:
    """A heap of soil or gravel, `radius` metres wide."""
    shape = Shape()
    material = paint(rng.choice([(0.16, 0.1, 0.05), (0.3, 0.27, 0.22), (0.05, 0.05, 0.05)]), 1.0, grain=9)
    rings = 5
    for r in range(rings):
        for i in range(14):
            quad = [_heap_point(rng, radius, rings, a, b) for a, b in ((r, i), (r, i + 1), (r + 1, i + 1), (r + 1, i))]
            shape.face(quad, material)
    return shape.mesh("heap")


def _heap_point(rng: random.Random, radius: float, rings: int, ring: int, side: int) -> tuple[float, float, float]:
    jitter = 0.8 + 0.35 * math.sin(side % 14 * 2.3 + ring * 1.7)
    r = radius * ring / rings * jitter
    a = 2 * math.pi * (side % 14) / 14
    return (r * math.cos(a), r * math.sin(a), radius * 0.62 * (1 - ring / rings) ** 1.2 * jitter)
